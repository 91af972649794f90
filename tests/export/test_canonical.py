"""The same model gives the same bytes, whatever its process has done before, and whenever."""

import pathlib
import time

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.export import FORMATS, export, writing
from tfqkd.export.canonical import settle_saved_model
from tfqkd.export.saved_model import save
from tfqkd.export.source import Source
from tfqkd.export.verification import Agreement

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), np.uint8)


def build(*middle):
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    layers = keras.layers
    ends = [layers.Flatten(), layers.Dense(3, name="head")]
    return keras.Sequential([keras.Input((4, 4, 3)), *middle, *ends], name="small")


def count_on():
    """Raises the counters that TensorFlow names functions by."""
    for number in range(20):
        tf.function(lambda x, by=number: x + by)(tf.constant(1.0))


def contents(directory: pathlib.Path) -> dict[str, bytes]:
    files = [file for file in directory.rglob("*") if file.is_file()]
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


def test_every_file_has_the_same_bytes_later_in_the_same_process(tmp_path, monkeypatch):
    # Running the files in child processes would change none of them.
    monkeypatch.setattr(writing, "verify", lambda *_: Agreement(0.0, 1.0))
    formats = [
        name for name, form in FORMATS.items() if form.kernel_bits != 8 and not form.is_integer
    ]
    written = []
    for number in range(2):
        # With names of their own: Keras numbers the layers of a process.
        conv = keras.layers.Conv2D(4, 3, name="conv")
        model = build(conv, keras.layers.BatchNormalization(name="norm"))
        directory = tmp_path / str(number)
        reports = export(model, directory, formats, images=IMAGES, calibration=IMAGES)
        written.append((contents(directory), [report.gzip_bytes for report in reports]))
        if number == 0:
            count_on()
            time.sleep(2)  # The dates in a zip archive have a resolution of 2 s.
    assert set(written[0][0]) >= {FORMATS[name].file_name for name in formats} - {"saved_model"}
    different = [name for name, content in written[0][0].items() if written[1][0][name] != content]
    assert different == []
    assert written[0] == written[1]


@pytest.mark.parametrize(
    "middle",
    [
        pytest.param(
            lambda: [keras.layers.Conv2D(4, 3, groups=2), keras.layers.Conv2D(4, 1, groups=2)],
            id="functions of their own",
        ),
        # Of the two below each is such a loop.
        pytest.param(
            lambda: [keras.layers.Reshape((4, 16)), keras.layers.GRU(3)],
            id="a loop",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: [
                keras.layers.Reshape((4, 16)),
                keras.layers.Bidirectional(keras.layers.LSTM(3)),
            ],
            id="two loops with random names",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_settled_graph_is_the_same_and_computes_the_same(tmp_path, middle):
    graphs = []
    for number in range(2):
        keras.backend.clear_session()
        first = keras.layers.Conv2D(4, 1)
        source = Source.prepare(build(first, *middle()), images=IMAGES)
        directory = tmp_path / str(number)
        save(source, directory)
        settle_saved_model(directory)
        graphs.append((directory / "saved_model.pb").read_bytes())
        loaded = tf.saved_model.load(directory)
        serve = loaded.signatures["serving_default"]
        logits = serve(images=tf.cast(IMAGES, tf.float32))["logits"]
        np.testing.assert_allclose(logits, source.outputs["logits"], rtol=0, atol=1e-6 * 255)
        count_on()
    assert graphs[0] == graphs[1]
