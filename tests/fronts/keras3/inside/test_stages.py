"""Whole runs of the front: stages, methods, and going on after an interruption."""

import keras
import numpy as np
import pytest

from tfqkd import fronts
from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.trainer import Watcher
from tfqkd.recipe.recipe import Recipe
from tfqkd.training import run as running

pytestmark = pytest.mark.slow

SETTINGS = {
    "data.crop_padding": 1,
    "student": "cnn2",
    "teacher": "cnn4",
    "teacher.training.epochs": 1,
    "student.training.epochs": 2,
    "quantized.training.epochs": 3,
    "training.batch_size": 16,
    "quantized.training.learning_rate": 0.05,
    "formats": (),
    "run.deterministic": keras.backend.backend() == "jax",
}


@pytest.fixture(autouse=True)
def of_this_front(monkeypatch):
    monkeypatch.setattr(running, "choose", lambda *_: fronts.choose("keras3"))


@pytest.fixture(scope="module")
def data():
    """Two classes of bright and dark squares."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 90, (96, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(96) % 2
    images[labels == 1, 2:6, 2:6] += 120
    train, test = Split(images[:64], labels[:64]), Split(images[64:], labels[64:])
    return ImageData("squares", ("dark", "bright"), train, test, test)


def trained(directory, data, **changes):
    callbacks = changes.pop("callbacks", ())
    recipe = Recipe({**SETTINGS, **changes})
    results = running.run(recipe, directory, data=data, callbacks=callbacks)
    return results, keras.models.load_model(directory / results.student.model)


class Stop(Watcher):
    def on_epoch_begin(self, epoch):
        if epoch == 2:
            raise InterruptedError


@pytest.mark.parametrize("methods", [{}, {"quantized.methods": ("ema",)}, {"teacher.views": 2}])
def test_a_run_goes_on_to_the_bit_where_it_stopped(tmp_path, data, methods):
    results, whole = trained(tmp_path / "whole", data, **methods)
    with pytest.raises(InterruptedError):
        trained(tmp_path / "again", data, callbacks=[Stop()], **methods)
    again, model = trained(tmp_path / "again", data, **methods)
    assert again.student.accuracy == results.student.accuracy
    assert results.models[0].accuracy > 0.8
    same = np.array_equal if SETTINGS["deterministic"] else np.allclose
    for one, other in zip(whole.get_weights(), model.get_weights(), strict=True):
        assert same(one, other)
    inner = [layer for layer in whole.layers if layer.__class__.__name__ == "Conv2D"][1:]
    for layer in inner:
        kernel = np.asarray(layer.kernel)
        assert len(np.unique(np.abs(kernel))) <= 2


def test_what_the_front_cannot_do_is_refused_before_training(tmp_path, data):
    with pytest.raises(ValueError, match="`strategy` must be what this front does"):
        trained(tmp_path, data, strategy="mirrored")
