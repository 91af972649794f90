import random

import numpy as np
import pytest
from training.linear import save_linear

from tfqkd.compat import keras
from tfqkd.fronts.tfmot import front
from tfqkd.process.generators import generators_kept
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.run import run


def state():
    kind, keys, *rest = np.random.get_state()
    return (
        keras.mixed_precision.global_policy().name,
        random.getstate(),
        (kind, keys.tolist(), *rest),
        keras.backend.experimental.is_tf_random_generator_enabled(),
    )


@pytest.fixture
def recipe(tmp_path):
    save_linear(tmp_path / "student.keras", seed=0)
    return Recipe(
        {
            "quantized.training.epochs": 1,
            "data.train_examples": 128,
            "training.batch_size": 64,
            "data.crop_padding": 0,
        },
        dataset="digits",
        student=str(tmp_path / "student.keras"),
        teacher="none",
        bits=32,
        formats=(),
    )


@pytest.fixture
def caller(recipe):
    """A process in the middle of its own work."""
    with generators_kept(), front.state_kept():
        random.seed(6)
        np.random.seed(7)
        # Half of a pair is kept for the next call, and is part of the state.
        np.random.normal()
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        keras.backend.experimental.disable_tf_random_generator()
        yield


class Nested(keras.callbacks.Callback):
    """Makes another run in the middle of one, or gives up."""

    def __init__(self, inner=None):
        super().__init__()
        self.inner, self.seen = inner, []

    def on_epoch_end(self, epoch, logs=None):
        if self.inner is None:
            raise InterruptedError("given up")
        self.seen.append(state())
        self.inner()
        self.seen.append(state())


def test_a_run_leaves_the_callers_policy_and_generators_as_they_were(tmp_path, recipe, caller):
    before = state()
    nested = Nested(lambda: run(recipe, tmp_path / "inner"))
    run(recipe, tmp_path / "outer", callbacks=[nested])
    assert state() == before
    # The one inside gives the one outside back what it had, which is not the caller's.
    inside, after = nested.seen
    assert inside == after
    assert inside[0] == "float32"
    assert inside[1:] != before[1:]


@pytest.mark.parametrize("where", ["before training", "in training"])
def test_so_does_one_that_fails(tmp_path, recipe, caller, where):
    if where == "before training":
        save_linear(tmp_path / "student.keras", seed=0, classes=7)
    before = state()
    if where == "in training":
        with pytest.raises(InterruptedError, match="given up"):
            run(recipe, tmp_path / "run", callbacks=[Nested()])
    else:
        with pytest.raises(ValueError, match="must fit the data set"):
            run(recipe, tmp_path / "run")
    assert state() == before
