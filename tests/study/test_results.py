import math

import numpy as np
import optuna
import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.study.results import _by_names_of_now

from .tried import accuracy, begin, grid, plan, results


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    return grid(tmp_path_factory)


def test_there_is_a_row_for_every_trial_and_seed(tried):
    assert len(tried.taught) == 24 * 2
    assert len(tried.controls) == 4 * 2
    for row in tried.taught.itertuples():
        settings = {
            "temperature": row.temperature,
            "teacher": row.teacher,
            "schedule": row.schedule,
        }
        assert row.validation_accuracy == accuracy(settings, False, row.seed)
        assert row.teacher_entropy == pytest.approx(
            math.log1p(row.temperature) / int(row.teacher[3:])
        )


def test_the_gain_is_over_the_control_of_the_same_seed(tried):
    # The formula gives both seeds the same gain, which means over other seeds would not.
    gains = tried.taught["validation_accuracy"] - [
        accuracy({}, True, seed) for seed in tried.taught["seed"]
    ]
    np.testing.assert_allclose(tried.taught["gain"], gains, atol=1e-12)
    assert tried.controls["gain"].eq(0).all()


def test_a_control_has_no_teacher_and_no_temperature(tried):
    assert tried.controls["teacher"].isna().all()
    assert tried.controls["temperature"].isna().all()
    assert set(tried.controls["schedule"]) == {"constant", "gradual"}


def test_rows_stand_in_the_order_of_the_plan(tried):
    assert list(dict.fromkeys(tried.taught["temperature"])) == [1.0, 2.0, 8.0]
    assert list(dict.fromkeys(tried.taught["schedule"])) == ["constant", "gradual"]


def test_the_best_trial_becomes_a_recipe_with_the_exports_of_the_study(tried):
    settings = tried.settings(tried.best())
    assert (settings["temperature"], settings["teacher"]) == (2.0, "cnn16")
    recipe = tried.best_recipe()
    assert recipe == tried.plan.recipe.changed(settings)
    assert recipe.export.formats == Recipe().export.formats


def test_a_control_is_never_the_best(tmp_path):
    found = results(tmp_path, plan("temperature=1,2"), lambda s, control, seed: 0.9 * control)
    assert found.best() in set(found.taught["trial"])


def test_a_study_that_has_just_begun_has_no_rows(tmp_path):
    from tfqkd.study.results import StudyResults

    found = StudyResults.read(begin(tmp_path, plan()), plan())
    assert len(found.runs) == len(found.taught) == len(found.controls) == 0
    assert found.best() is None
    assert found.best_recipe() is None
    assert found.counts["waiting"] == 28


def test_a_gain_without_its_control_is_left_open(tmp_path):
    from tfqkd.study.results import StudyResults

    from .tried import objective

    study = begin(tmp_path, plan("temperature=1,2", repeats=1))
    control = study.ask()
    study.optimize(objective(plan("temperature=1,2", repeats=1), accuracy), n_trials=2)
    found = StudyResults.read(study, plan("temperature=1,2", repeats=1))
    assert control.number == 0
    assert found.taught["gain"].isna().all()


def test_a_trial_of_a_version_before_is_read_by_the_names_of_now(tmp_path):
    study = optuna.create_study()
    rate = optuna.distributions.FloatDistribution(0.001, 0.1)
    old = {"quantized_learning_rate": 0.01, "temperature": 2.0}
    distributions = {"quantized_learning_rate": rate, "temperature": rate}
    attributes = {"settings": old, "queued": True}
    trial = optuna.trial.create_trial(
        params={**old, "temperature": 0.05},
        distributions=distributions,
        value=0.5,
        user_attrs=attributes,
    )
    study.add_trial(trial)
    renewed = _by_names_of_now(study.get_trials()[0])
    assert renewed.params == {"quantized.training.learning_rate": 0.01, "temperature": 0.05}
    assert set(renewed.distributions) == set(renewed.params)
    assert renewed.user_attrs["settings"] == {
        "quantized.training.learning_rate": 0.01,
        "temperature": 2.0,
    }
