import csv

import numpy as np
import pytest

from tfqkd.data.images import Split
from tfqkd.training.patience import Patience

from . import numpy_front
from .test_stages import DATA, RECIPE, make_stages


def stops(accuracies, epochs, history=()):
    patience, said = Patience(epochs, [{"val_accuracy": each} for each in history]), []
    for epoch, accuracy in enumerate(accuracies):
        patience.on_epoch_end(epoch, {"val_accuracy": accuracy})
        said.append(patience.stops)
    return said


def test_a_training_ends_when_accuracy_has_not_risen_for_so_many_epochs():
    accuracies = [0.5, 0.6, 0.6, 0.7, 0.1, 0.7, 0.2]
    assert stops(accuracies, 1) == [False, False, True, False, True, True, True]
    assert stops(accuracies, 2) == [False, False, False, False, False, True, True]
    for cut in range(len(accuracies)):
        assert stops(accuracies[cut:], 2, accuracies[:cut]) == stops(accuracies, 2)[cut:]


def epochs_of(directory):
    with (directory / "history.csv").open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def test_a_stage_that_has_lost_patience_is_over_also_where_it_goes_on(tmp_path, monkeypatch):
    validated = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(
        numpy_front.Trainer,
        "_validated",
        lambda self: {"val_accuracy": next(validated), "val_loss": 1.0},
    )
    recipe = RECIPE.changed(
        {"data.validation_split": 0.3, "training.patience": 2, "student.training.epochs": 9}
    )
    stages = make_stages(recipe, tmp_path / "stopped")
    # All is trained, and what follows is killed: nothing is trained again.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tfqkd.methods.hooks.Hooks.finish", interrupt)
        stages.student()
    model = stages.student()
    assert epochs_of(model.parent) == [1, 2, 3]


def interrupt(*_):
    raise KeyboardInterrupt


def test_balanced_weights_make_all_classes_weigh_the_same():
    labels = np.array([0] * 6 + [2] * 2 + [3] * 4)
    split = Split(np.zeros((12, 1, 1, 1), np.uint8), labels)
    weights = split.balanced_weights(5)
    np.testing.assert_allclose(weights, [12 / 18, 0, 2, 1, 0])
    by_class = np.bincount(labels, weights[labels], 5)
    np.testing.assert_allclose(by_class, [4, 0, 4, 4, 0])
    assert weights[labels].mean() == pytest.approx(1)
    assert DATA.train.balanced_weights(4)[DATA.train.labels].mean() == pytest.approx(1)
