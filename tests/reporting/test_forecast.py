"""What is foretold of a run, against what the NumPy front then does."""

import shutil
import statistics

import pytest
from training import numpy_front
from training.test_stages import interrupted

from tfqkd import fronts
from tfqkd.recipe.recipe import Recipe
from tfqkd.reporting.forecast import forecast, forecast_table
from tfqkd.training.history import read_history
from tfqkd.training.presets import Comparison
from tfqkd.training.run import run

RECIPE = Recipe(
    {
        "teacher.training.epochs": 1,
        "student.training.epochs": 3,
        "quantized.training.epochs": 3,
        "training.batch_size": 64,
    },
    dataset="digits",
    student="cnn2",
    teacher="cnn4",
    formats=(),
)


@pytest.fixture(autouse=True)
def on_numpy_front(monkeypatch):
    monkeypatch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)
        run(RECIPE, directory)
    return directory


def test_a_run_that_was_not_begun_trains_all_and_nothing_is_made(tmp_path):
    found = forecast(RECIPE, tmp_path / "run")
    assert [each.title for each in found] == [
        "float teacher (cnn4), seed 0",
        "float student (cnn2), seed 0",
        "ternary student, gradual coefficient (cnn2), seed 0",
    ]
    assert [(each.epochs, each.parameters, each.seconds) for each in found] == [
        (1, 650, None),
        (3, 650, None),
        (3, 650, None),
    ]
    assert {each.why for each in found} == {"no product of its kind"}
    assert list(tmp_path.iterdir()) == []
    *_, last = str(forecast_table(found)).splitlines()
    assert last.split() == ["all", "7", "unknown", "3", "to", "train"]


def test_what_is_done_is_said_to_be_done(finished):
    found = forecast(RECIPE, finished)
    assert all(each.is_done and each.epochs == 0 for each in found)
    *_, last = str(forecast_table(found)).splitlines()
    assert last.split() == ["all", "0", "0:00:00", "0", "to", "train"]


def test_the_reason_names_what_differs_and_the_time_is_that_of_the_nearest(finished, tmp_path):
    other = RECIPE.changed({"quantized.training.epochs": 10}, temperature=9.0)
    teacher, student, quantized = forecast(other, tmp_path / "run", finished / "products")
    assert teacher.is_done and student.is_done
    (product,) = (finished / "products").glob("quantized-*/")
    assert quantized.why == (
        f"unlike {product.name}: training.epochs 3 there, 10 here; "
        "distillation.temperature 2.0 there, 9.0 here"
    )
    seconds = [row["seconds"] for row in read_history(product / "history.csv")][1:]
    assert quantized.seconds == pytest.approx(10 * statistics.median(seconds))


def test_an_input_that_is_trained_anew_is_a_reason(finished, tmp_path):
    other = RECIPE.changed({"teacher.training.epochs": 2})
    teacher, student, quantized = forecast(other, tmp_path / "run", finished / "products")
    assert "training.epochs 1 there, 2 here" in teacher.why
    assert student.is_done
    (product,) = (finished / "products").glob("teacher-*/")
    assert f"teachers ['{product.name}'] there, ['teacher-" in quantized.why


def test_the_stages_of_a_comparison_are_foretold(finished, tmp_path):
    found = forecast(RECIPE, tmp_path / "run", finished / "products", Comparison(controls=True))
    assert [each.is_done for each in found] == [True, True, False, False, False, False, True]


def test_a_stage_that_was_interrupted_has_what_is_left_of_it(finished, tmp_path):
    products = shutil.copytree(finished / "products", tmp_path / "products")
    other = RECIPE.changed(temperature=9.0)
    with interrupted(epoch=1, step=3):
        run(other, tmp_path / "run", products)
    *_, quantized = forecast(other, tmp_path / "run", products)
    assert (quantized.why, quantized.epochs) == ("started, 1 epochs are done", 2)
