import dataclasses
import json

import pytest

from tfqkd.export.measure import Latency, Measured
from tfqkd.export.report import LayerPacking, LayerSize, QuantizedKernel, Report
from tfqkd.export.report_tables import (
    layer_table,
    relative_table,
    size_table,
    speed_table,
    write_report,
)

_PACKING = (LayerPacking("conv", 4000, 2, 1000.0, 1.5),)


def report(name, size, gzip_size, accuracy=None):
    return Report(
        format=name,
        path=f"out/{name}.tflite",
        bytes=size,
        gzip_bytes=gzip_size,
        images=4,
        max_difference=2e-6,
        agreement=1.0,
        accuracy=accuracy,
        quantized=(QuantizedKernel("conv", 4000, 1, 2),) if "int2" in name else (),
        float_layers=("head",),
        packing=_PACKING,
        layers=(
            LayerSize("conv", 4000, *(("int2", 1000) if "int2" in name else ("float32", 16000))),
            LayerSize("head", 30, "float32", 120),
        ),
    )


def measured(name, direct, milliseconds, megabytes=2.0):
    latency = Latency(threads=1, batch=32, median=milliseconds / 1e3, spread=1e-4)
    return Measured(name, direct, 0.005, megabytes * 1e6, (latency,))


REPORTS = [report("litert-float32", 12000, 5000, 0.5), report("litert-int2", 1500, 1250, 0.5)]
MEASURED = [
    measured("litert-float32", False, 10.0),
    measured("litert-int2", False, 10.5, 3.0),
    measured("litert-int2", True, 42.0),
]


def rows(table):
    return [line.split() for line in str(table).splitlines()]


def test_sizes_stand_beside_the_packed_codes_and_their_entropy():
    # 4000 codes: 1000 bytes at 2 bits, 750 at 1.5 bits.
    assert [
        "litert-int2.tflite",
        "litert-int2",
        "1,500",
        "1,250",
        "1.50",
        "2.00",
        "2.0e-06",
        "100.0",
        "50.00",
    ] in rows(size_table(REPORTS))


def test_speeds_are_milliseconds_with_their_spread():
    line = "litert-int2, as it is 5.0 2.0 42.00 ± 0.10"
    assert line.split() in rows(speed_table(MEASURED))


def test_times_are_multiples_of_the_float_files():
    table = rows(relative_table(MEASURED))
    assert ["litert-float32", "1.00", "1.00", "1.00"] in table
    assert ["litert-int2", "1.00", "1.50", "1.05"] in table
    assert ["litert-int2,", "as", "it", "is", "1.00", "1.00", "4.20"] in table
    assert relative_table(MEASURED[1:]) is None


@pytest.mark.parametrize("base", [0.0, None])
def test_memory_that_was_not_told_is_left_out(base):
    unknown = [dataclasses.replace(entry, peak_bytes=base) for entry in MEASURED]
    if base is None:
        assert ["litert-int2", "5.0", "10.50", "±", "0.10"] in rows(speed_table(unknown))
    assert ["litert-int2", "1.00", "1.05"] in rows(relative_table(unknown))


def test_layers_are_listed_with_their_bytes_and_the_float_ones():
    found = rows(layer_table(REPORTS[1]))
    assert ["conv", "4,000", "int2", "1,000", "1,000", "750"] in found
    assert ["head", "30", "float32", "120"] in found
    # 1,500 bytes less 1,000 and 120.
    assert found[-1] == ["biases,", "scales,", "structure", "380"]


def test_the_report_is_json(tmp_path):
    write_report(REPORTS, MEASURED, tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    first, second = written["files"]
    assert (second["path"], second["packed_bytes"], second["entropy_bytes"]) == (
        "litert-int2.tflite",
        1000.0,
        750.0,
    )
    assert [run["direct"] for run in second["runs"]] == [False, True]
    assert first["runs"][0]["latencies"][0]["median"] == 0.01
