"""What a stage does at each of its steps."""

import dataclasses

import numpy as np
import pytest
from scipy.special import logsumexp
from training.linear import save_linear
from training.staged import Staged

from tfqkd.compat import keras
from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.trainer import Position, Watcher
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.products import Products

from .fittings import fitting


class EachStep(keras.callbacks.Callback):
    """Notes the learning rate and the coefficient of every step."""

    def __init__(self):
        super().__init__()
        self.rates, self.coefficients = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate.numpy()))
        self.coefficients.append(float(self.model.coefficient.numpy()))


def train(directory, steps, **settings):
    """Trains `steps` steps an epoch on noise, and returns what `EachStep` noted."""
    for seed, role in enumerate(("student", "teacher")):
        save_linear(directory / f"{role}.keras", seed, classes=4)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (4 * steps, 8, 8, 1), dtype=np.uint8)
    split = Split(images, np.arange(4 * steps) % 4)
    recipe = Recipe(
        {
            "student": str(directory / "student.keras"),
            "teacher": str(directory / "teacher.keras"),
            "bits": 32,
            "training.batch_size": 4,
            "data.crop_padding": 0,
            "quantized.training.learning_rate": 1e-3,
            "schedule": "step",
            **settings,
        }
    )
    noted = EachStep()
    data = ImageData("noise", tuple("abcd"), split, None, split)
    strategy = front.strategy("one_device", 4, False)
    Staged(recipe, data, Products(directory), front, strategy, (noted,)).quantized()
    return np.array(noted.rates) / 1e-3, np.array(noted.coefficients)


@pytest.mark.parametrize(
    ("epochs", "steps", "milestones", "warmup", "on"),
    [
        # The milestones lie inside the third and the fourth epoch.
        (5, 4, (0.5, 0.75), 0.0, "epoch"),
        (5, 4, (0.5, 0.75), 2.75, "step"),
        # Between two steps, 3.5 and 20.2: the nearest.
        (7, 3, (1 / 6, 0.96), 1.0, "step"),
        (1, 5, (0.3, 0.6), 0.0, "epoch"),
        (2, 1, (0.2, 0.3, 0.8), 0.0, "epoch"),
    ],
)
def test_the_coefficient_steps_down_when_the_learning_rate_does(
    tmp_path, epochs, steps, milestones, warmup, on
):
    rates, coefficients = train(
        tmp_path,
        steps,
        coefficient=0.75,
        **{
            "quantized.training.epochs": epochs,
            "training.milestones": milestones,
            "training.factor": 0.5,
            "training.warmup_epochs": warmup,
            "distil.schedule_on": on,
        },
    )
    step = np.arange(epochs * steps)
    passed = sum(step >= np.round(milestone * len(step)) for milestone in milestones)
    rise = np.minimum((step + 1) / round(warmup * steps), 1) if warmup else 1.0
    np.testing.assert_allclose(rates, rise * 0.5**passed, rtol=1e-6)
    np.testing.assert_allclose(coefficients, 0.75 * 0.5**passed, rtol=1e-6)


class Noted(Watcher):
    """Keeps the logs of all epochs, and ends the training after so many."""

    def __init__(self, epochs=99):
        self.logs, self._epochs = [], epochs

    def on_epoch_end(self, epoch, logs):
        self.logs.append({name: float(value) for name, value in logs.items()})
        self.stops = len(self.logs) == self._epochs


def weighted_loss(front, model, split, class_weights):
    """The loss of the one step of an epoch, and that of the model before it, by NumPy."""
    fits = dataclasses.replace(
        fitting(
            Recipe({"training.batch_size": 12, "data.crop_padding": 0, "data.flip": False}),
            1e-3,
            1,
            1,
        ),
        class_weights=class_weights,
    )
    images = ImageData("noise", tuple("abcd"), split, None, split)
    before = front.logits(model, split.images).astype(np.float64)
    noted = Noted()
    front.trainer(model, fits, images).fit(Position(0, 0), (), [noted])
    said = -(before - logsumexp(before, axis=1, keepdims=True))[np.arange(12), split.labels]
    weights = split.balanced_weights(4)[split.labels] if class_weights == "balanced" else 1
    return noted.logs[0]["loss"], (weights * said).mean()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_classes_weigh_what_they_are_said_to(class_weights):
    generator = np.random.default_rng(0)
    labels = np.array([0] * 7 + [1] * 2 + [3] * 3)
    split = Split(generator.integers(0, 256, (12, 8, 8, 1), np.uint8), labels)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    found, expected = weighted_loss(front, model, split, class_weights)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_watcher_ends_a_training():
    generator = np.random.default_rng(0)
    split = Split(generator.integers(0, 256, (12, 8, 8, 1), np.uint8), np.arange(12) % 4)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    noted = Noted(epochs=2)
    fits = fitting(Recipe({"training.batch_size": 12}), 1e-3, 5, 1)
    data = ImageData("noise", tuple("abcd"), split, None, split)
    front.trainer(model, fits, data).fit(Position(0, 0), (), [noted])
    assert len(noted.logs) == 2
