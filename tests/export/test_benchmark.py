import dataclasses

import numpy as np
import pytest

from tfqkd.export import ExportError, export
from tfqkd.export.benchmark import benchmark, layer_latencies

from . import classifier


@pytest.mark.slow
def test_files_are_measured_in_turns_and_narrow_ones_both_ways(exported):
    reports = [exported.reports[name] for name in ("litert-float32", "litert-int2")]
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
        # The peak of this process, far above, does not count.
        assert 0 < entry.load_seconds < 10 and 0 < entry.peak_bytes < 1e8
        # More images take longer.
        assert entry.latencies[1].median > entry.latencies[0].median


def test_a_file_that_does_not_run_is_an_error(exported, tmp_path):
    report = dataclasses.replace(
        exported.reports["litert-int8"], path=str(tmp_path / "none.tflite")
    )
    with pytest.raises(ExportError, match="must run to be measured"):
        benchmark([report])


@pytest.mark.slow
def test_files_for_tensorflow_are_measured_beside_the_others(exported, tmp_path):
    (keras_file,) = export(exported.model, tmp_path, "keras")
    reports = [exported.reports["saved_model"], keras_file, exported.reports["litert-int8"]]
    found = benchmark(reports)
    assert [entry.name for entry in found] == ["saved_model", "keras", "litert-int8"]
    for entry in found:
        settings = [(latency.threads, latency.batch) for latency in entry.latencies]
        assert settings == [(1, 1), (1, 32), (2, 1), (2, 32)]
        assert all(latency.median > 0 for latency in entry.latencies)
        assert entry.load_seconds > 0 and entry.peak_bytes > 0


def test_any_file_is_loaded_as_a_function(exported, tmp_path):
    from tfqkd.export.tensorflow_files import load_any

    images = classifier.pixels(3)
    expected = exported.model(images).numpy()
    exported.model.save(tmp_path / "a.keras")
    paths = [exported.reports[name].path for name in ("saved_model", "litert-int8")]
    for path in (*paths, str(tmp_path / "a.keras")):
        model = load_any(path)
        assert tuple(model.input_shape) == classifier.SHAPE
        np.testing.assert_allclose(model(images), expected, rtol=0, atol=1e-4)


def test_layers_are_measured_up_to_their_outputs_in_order(exported):
    report = exported.reports["litert-int2"]
    found = layer_latencies(report)
    assert [layer.layer for layer in report.layers] == [
        "stem", "depthwise", "ternary", "three_bit", "four_bit", "hidden", "head",
    ]  # fmt: skip
    assert len(found) == 7 and all(seconds > 0 for seconds in found)
    # The last is the whole file.
    assert found[-1] > found[0]
    assert layer_latencies(exported.reports["saved_model"]) == []
