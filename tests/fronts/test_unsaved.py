"""A Distiller cannot be saved: its student can."""

import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.fronts.tfmot.distiller import Distiller

IMAGES = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
LABELS = np.arange(8) % 3


def network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def fit(distiller, callback):
    distiller.fit(IMAGES, LABELS, verbose=0, callbacks=[callback])


@pytest.fixture
def distiller():
    made = Distiller(student=network(), teacher=network())
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (lambda distiller, path: distiller.save(path), "a.keras"),
        (lambda distiller, path: distiller.save(path), "a.h5"),
        (lambda distiller, path: distiller.save(path, save_format="tf"), "a"),
        (keras.models.save_model, "a.keras"),
        (keras.models.save_model, "a"),
        (lambda distiller, path: fit(distiller, keras.callbacks.ModelCheckpoint(path)), "a.keras"),
        (lambda distiller, path: fit(distiller, keras.callbacks.ModelCheckpoint(path)), "a"),
    ],
)
def test_a_distiller_says_that_its_student_is_saved(distiller, tmp_path, save, name):
    # Keras refuses by itself what was never called, and what is no network in an h5 file.
    distiller(IMAGES)
    with pytest.raises(ValueError, match=r"its student can: distiller\.student\.save.* Received: "):
        save(distiller, str(tmp_path / name))
    # TensorFlow has written a SavedModel when Keras asks.
    assert name == "a" or not any(tmp_path.iterdir())


def test_the_student_and_the_weights_are_saved(distiller, tmp_path):
    path = str(tmp_path / "weights")
    fit(distiller, keras.callbacks.ModelCheckpoint(path, save_weights_only=True))
    distiller.student.save(tmp_path / "student.keras")
    expected = distiller(IMAGES)
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / "student.keras")(IMAGES), expected
    )
    distiller.student.set_weights([0 * weight for weight in distiller.student.get_weights()])
    distiller.load_weights(path)
    np.testing.assert_array_equal(distiller(IMAGES), expected)
