import dataclasses
import statistics
import subprocess
import sys

import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.export import ExportError, export
from tfqkd.export import measure as module
from tfqkd.export.measure import footprint, latencies, measure
from tfqkd.runtime.signature import Tensor

from . import classifier

IMAGES = {"images": Tensor((None, 2, 2, 1), np.dtype("float32"))}

# In a process of its own, whose peak is not far above what it holds.
_OF_120_MEGABYTES = """
import numpy as np
from tfqkd.export import measure
from tfqkd.runtime.signature import Tensor

class Model:
    def __init__(self):
        self.content = np.ones(40 << 20, np.uint8)

    def __call__(self, images):
        return np.ones(80 << 20, np.uint8)

images = {"images": Tensor((None, 2, 2, 1), np.dtype("float32"))}
measure._opened = lambda path, threads, direct: measure._Opened(images, Model())
print(measure.footprint("a.tflite")["peak_bytes"] / (1 << 20))
"""


@pytest.mark.slow
def test_files_are_measured_in_turns_and_narrow_ones_both_ways(exported):
    reports = [exported.reports[name] for name in ("litert-float32", "litert-int2")]
    found = measure(reports)
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
        measure([report])


@pytest.mark.slow
def test_files_for_tensorflow_are_measured_beside_the_others(exported, tmp_path):
    (keras_file,) = export(exported.model, tmp_path, "keras")
    reports = [exported.reports["saved_model"], keras_file, exported.reports["litert-int8"]]
    found = measure(reports)
    assert [entry.name for entry in found] == ["saved_model", "keras", "litert-int8"]
    for entry in found:
        settings = [(latency.threads, latency.batch) for latency in entry.latencies]
        assert settings == [(1, 1), (1, 32), (2, 1), (2, 32)]
        assert all(latency.median > 0 for latency in entry.latencies)
        assert entry.load_seconds > 0 and entry.peak_bytes > 0


def test_any_file_is_opened_as_a_function(exported, tmp_path):
    images = classifier.pixels(3).astype(np.float32)
    expected = exported.model(images).numpy()
    exported.model.save(tmp_path / "a.keras")
    paths = [exported.reports[name].path for name in ("saved_model", "litert-int8")]
    for path in (*paths, str(tmp_path / "a.keras")):
        opened = module._opened(path, None, False)
        assert opened.zeros(3).shape == (3, *classifier.SHAPE)
        found = np.asarray(opened.serve(images)).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_model_of_several_inputs_is_measured_too(tmp_path):
    words = keras.Input((5,), dtype="int32", name="words")
    size = keras.Input((2,), name="size")
    said = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 4)(words))
    model = keras.Model(
        [words, size], keras.layers.Dense(3)(keras.layers.Concatenate()([said, size]))
    )
    reports = export(model, tmp_path, "saved_model,keras,litert-float32", output="logits")
    for entry in measure(reports):
        assert entry.load_seconds > 0 and len(entry.latencies) == 4


class Clock:
    """Stands in for time.perf_counter: only the files below let it go on."""

    now = 0.0

    def __call__(self):
        return self.now


class File:
    """Takes `seconds` an image, and a tenth more in each call than in the one before."""

    def __init__(self, name, seconds, clock, calls):
        self.name, self.seconds, self.clock, self.calls = name, seconds, clock, calls
        self.number = 0

    def __call__(self, images):
        assert images.shape[1:] == (2, 2, 1) and images.dtype == np.float32
        self.clock.now += self.seconds * len(images) * (1 + 0.1 * self.number)
        self.number += 1
        self.calls.append((self.name, len(images)))


@pytest.fixture
def timed(monkeypatch):
    """What three files took, and in which order they were called."""
    clock, calls, asked = Clock(), [], []
    monkeypatch.setattr(module.time, "perf_counter", clock)

    def opened(path, threads, direct):
        asked.append((path, threads, direct))
        return module._Opened(
            IMAGES, File(path, {"a": 1.0, "b": 2.0, "c": 5.0}[path], clock, calls)
        )

    monkeypatch.setattr(module, "_opened", opened)
    files = [("a", False), ("b", True), ("c", False)]
    found = latencies(files, threads=2, rounds=[(1, 6), (4, 6)])
    assert asked == [("a", 2, False), ("b", 2, True), ("c", 2, False)]
    return found, calls


def test_in_each_round_every_file_runs_once_in_changing_order(timed):
    _, calls = timed
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    # For each batch six rounds, and one before that warms up.
    assert [count for one in rounds for _, count in one] == [1] * 21 + [4] * 21
    assert all(sorted(name for name, _ in one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(name for name, _ in one) for one in rounds}) > 2


def test_the_first_call_does_not_count(timed):
    found, _ = timed
    for seconds, results in zip((1.0, 2.0, 5.0), found, strict=True):
        # The second to the seventh call of a batch of 1; the ninth to the fourteenth of 4.
        for result, batch, first in zip(results, (1, 4), (1, 8), strict=True):
            times = [seconds * batch * (1 + 0.1 * number) for number in range(first, first + 6)]
            low, _, high = statistics.quantiles(times, n=4)
            assert (result["threads"], result["batch"]) == (2, batch)
            assert result["median"] == pytest.approx(statistics.median(times))
            assert result["spread"] == pytest.approx(high - low)


def test_the_peak_is_what_loading_and_running_add():
    child = subprocess.run(
        [sys.executable, "-c", _OF_120_MEGABYTES], capture_output=True, text=True, check=True
    )
    assert float(child.stdout) == pytest.approx(120, rel=0.1)


def test_a_system_that_does_not_tell_the_peak_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_STATUS", tmp_path / "none")
    opened = module._Opened(IMAGES, lambda images: images)
    monkeypatch.setattr(module, "_opened", lambda *_: opened)
    found = footprint("a.tflite")
    assert found["peak_bytes"] is None and found["load_seconds"] > 0
