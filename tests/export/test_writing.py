"""What holds for the files of all formats."""

import dataclasses

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.export import ExportError, export, keras_file, saved_model, to_litert, writing
from tfqkd.export.source import Source

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 2, 2, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            layers.Flatten(),
            layers.Dense(5, activation="relu", name="first"),
            layers.Dense(4, name="second"),
        ]
    )


def with_another_kernel(model):
    """Returns a copy in which one weight of the second layer differs by a float32 rounding."""
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    kernel = twin.get_layer("second").kernel
    changed = kernel.numpy()
    changed[0, 0] = np.nextafter(changed[0, 0], np.float32(1))
    kernel.assign(changed)
    return twin


def truncate(file):
    file.write_bytes(file.read_bytes()[:16])


def test_a_saved_model_with_another_weight_names_the_layer(model, tmp_path, monkeypatch):
    save = saved_model.save
    monkeypatch.setattr(
        saved_model,
        "save",
        lambda source, directory: save(
            dataclasses.replace(source, model=with_another_kernel(source.model)), directory
        ),
    )
    with pytest.raises(ExportError, match="layer 'second' with another kernel"):
        export(model, tmp_path, "saved_model")
    assert list(tmp_path.iterdir()) == []


class Clock(keras.layers.Layer):
    """No file can compute what a layer does that reads the clock."""

    def call(self, inputs):
        return inputs + tf.cast(tf.timestamp() % 1000, tf.float32)


@pytest.mark.slow
def test_a_layer_that_computes_otherwise_in_the_file_is_refused(tmp_path):
    layers = keras.layers
    image = keras.Input((2, 2, 3))
    hidden = layers.Dense(5, name="first")(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(4, name="second")(Clock(name="clock")(hidden)))
    with pytest.raises(ExportError, match="logits that differ by up to"):
        export(model, tmp_path, "saved_model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["variables.data-00000-of-00001", "variables.index"])
def test_a_saved_model_that_is_cut_short_is_refused(model, tmp_path, monkeypatch, name):
    def save_half(source, directory):
        save(source, directory)
        truncate(directory / "variables" / name)

    save = saved_model.save
    monkeypatch.setattr(saved_model, "save", save_half)
    with pytest.raises(ExportError, match="must be complete when it is read back"):
        export(model, tmp_path, "saved_model")
    assert list(tmp_path.iterdir()) == []


def test_a_keras_file_with_another_weight_names_the_layer(model, tmp_path, monkeypatch):
    variables = keras_file._variables

    def save_another(file):
        with_another_kernel(model).save(file)
        return variables(file)

    monkeypatch.setattr(keras_file, "_variables", save_another)
    with pytest.raises(ExportError, match="layer 'second' with another kernel"):
        export(model, tmp_path, "keras")
    assert list(tmp_path.iterdir()) == []


def test_a_keras_file_that_is_cut_short_is_refused(model, tmp_path, monkeypatch):
    def write_half(file):
        truncate(file)
        return variables(file)

    variables = keras_file._variables
    monkeypatch.setattr(keras_file, "_variables", write_half)
    with pytest.raises(ExportError, match="must load as it was written"):
        export(model, tmp_path, "keras")
    assert list(tmp_path.iterdir()) == []


def test_another_accuracy_on_the_test_images_is_refused(model, tmp_path, monkeypatch):
    labels = Source.prepare(model, images=IMAGES).outputs["logits"].argmax(axis=1)
    run_file = writing.run_file

    def turned(*arguments):
        return {name: -output for name, output in run_file(*arguments).items()}

    monkeypatch.setattr(writing, "run_file", turned)
    with pytest.raises(ExportError, match=r"of 40 images change class .* instead of 100\.00 %"):
        export(model, tmp_path, "litert-float32", test=(IMAGES, labels))
    assert list(tmp_path.iterdir()) == []


def test_the_accuracy_on_the_test_images_is_reported(model, tmp_path):
    labels = Source.prepare(model, images=IMAGES).outputs["logits"].argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 4
    path = tmp_path / "a.tflite"
    report = to_litert(model, path, format="litert-float32", test=(IMAGES, labels))
    assert report.accuracy == 0.75
