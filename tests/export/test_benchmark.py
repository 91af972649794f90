import dataclasses

import pytest

from tfqkd.export import ExportError
from tfqkd.export.benchmark import benchmark, layer_latencies


def test_files_are_measured_in_turns_and_narrow_ones_both_ways(exported):
    reports = [exported.reports[name] for name in ("saved_model", "litert-float32", "litert-int2")]
    found = benchmark(reports)
    assert [(entry.format, entry.direct) for entry in found] == [
        ("litert-float32", False),
        ("litert-int2", False),
        ("litert-int2", True),
    ]
    for entry in found:
        settings = [(latency.threads, latency.batch) for latency in entry.latencies]
        assert settings == [(1, 1), (1, 32), (2, 1), (2, 32)]
        assert all(latency.median > 0 and latency.spread >= 0 for latency in entry.latencies)
        assert 0 < entry.load_seconds < 10 and 0 <= entry.peak_bytes < 1e9
        # More images take longer.
        assert entry.latencies[1].median > entry.latencies[0].median


def test_a_file_that_does_not_run_is_an_error(exported, tmp_path):
    report = dataclasses.replace(
        exported.reports["litert-int8"], path=str(tmp_path / "none.tflite")
    )
    with pytest.raises(ExportError, match="must run to be measured"):
        benchmark([report])


def test_files_for_tensorflow_are_left_out(exported):
    assert benchmark([exported.reports["saved_model"]]) == []


def test_layers_are_measured_up_to_their_outputs_in_order(exported):
    for name in ("litert-float32", "litert-int2"):
        found = layer_latencies(exported.reports[name])
        assert list(found) == [
            "stem", "depthwise", "ternary", "three_bit", "four_bit", "hidden", "head",
        ]  # fmt: skip
        assert all(seconds > 0 for seconds in found.values())
    assert layer_latencies(exported.reports["saved_model"]) == {}
