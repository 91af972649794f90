"""A trial is worth what the model in its directory is worth, whatever was done to it after its last epoch."""

import optuna
import pytest

from tfqkd.compat import keras
from tfqkd.data import load
from tfqkd.recipe.recipe import Recipe
from tfqkd.study import attributes
from tfqkd.study.plan import Plan
from tfqkd.study.queue import to_parameter
from tfqkd.study.space import parse_space
from tfqkd.study.status import StudyStatus
from tfqkd.study.trial import TrialRunner
from tfqkd.training.history import read_history

from .kept import kept_accuracy, kept_model

AFTER_THE_LAST_EPOCH = {
    "quantized.methods": ((), ("ema",)),
    "training.batch_norm": ("moving", "plain"),
}


def save_student(path):
    """Saves a student that learns in a few steps, with averages of batch norm that lag behind."""
    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu", name="first"),
            keras.layers.Dense(32, activation="relu", name="second"),
            keras.layers.BatchNormalization(momentum=0.97, name="norm"),
            keras.layers.Dense(10, name="logits"),
        ]
    ).save(path)


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """Trials of which each changes its model after the last epoch in one way."""
    directory = tmp_path_factory.mktemp("kept")
    save_student(directory / "student.keras")
    recipe = Recipe(
        {
            "data.validation_split": 0.3,
            "data.train_examples": 640,
            "data.crop_padding": 1,
            "data.flip": False,
            "quantized.training.epochs": 1,
            "quantized.training.learning_rate": 0.1,
            "quantized.methods": ("ema",),
            "quantized.ema.momentum": 0.999,
            "training.batch_size": 16,
        },
        dataset="digits",
        student=str(directory / "student.keras"),
        teacher="none",
        bits=8,
    )
    vary = ["quantized.methods=,ema", "training.batch_norm=moving,plain"]
    plan = Plan(
        recipe=recipe,
        space=parse_space(vary),
        sampler="grid",
        trials=0,
        repeats=1,
        pruner="none",
    )
    study = optuna.create_study(direction="maximize")
    plain = {name: to_parameter(values[0]) for name, values in AFTER_THE_LAST_EPOCH.items()}
    for name, values in AFTER_THE_LAST_EPOCH.items():
        study.enqueue_trial({**plain, name: to_parameter(values[1])})
    runner = TrialRunner(plan, directory, StudyStatus())
    study.optimize(runner, n_trials=len(AFTER_THE_LAST_EPOCH))
    return directory, study


def test_a_trial_is_worth_its_kept_models_accuracy_on_the_validation_images(tried):
    directory, study = tried
    held_back = load("digits", validation_split=0.3, train_examples=640).validation
    for trial in study.trials:
        run = directory / f"trials/{trial.number:04d}-seed0"
        record = trial.user_attrs[attributes.of_seed(0)]
        assert trial.value == record["validation_accuracy"] == kept_accuracy(run, held_back)
        # What the last epoch left was another model.
        (row,) = read_history(kept_model(run).parent / "history.csv")
        assert abs(row["val_accuracy"] - trial.value) > 5 / len(held_back), trial.params
