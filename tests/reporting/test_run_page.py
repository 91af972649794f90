import csv
import dataclasses
import json
import shutil

import pytest
from training.finished import FinishedRun, finished_run

from tfqkd.reporting.run_page import write_run_page

from .chromium import show


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FinishedRun:
    return finished_run(tmp_path_factory)


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    """Of the run alone: another test may have evaluated it."""
    run = tmp_path_factory.mktemp("page") / finished.directory.name
    evaluated = shutil.ignore_patterns("evaluation.json")
    shutil.copytree(finished.directory, run, symlinks=True, ignore=evaluated)
    return write_run_page(run)


def rows(page, name):
    with (page.parent / "figures" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_page_shows_every_model_with_its_figures(finished, page):
    html = page.read_text()
    for model in finished.results.models:
        assert f"<td>{model.label}</td><td>{model.name}</td>" in html
        assert f"<td>{100 * model.accuracy:.2f}</td>" in html
        assert f"<td>{model.loss:.4f}</td>" in html
    for report in finished.results.export:
        assert f"<td>{report.path}</td>" in html
    assert "--student=cnn2\n" in html


def test_the_figures_hold_the_values_of_the_run(finished, page):
    assert [float(row["accuracy"]) for row in rows(page, "accuracies")] == [
        model.accuracy for model in finished.results.models
    ]
    curves = rows(page, "curves")
    assert [row["name"] for row in curves] == [
        model.label for model in finished.results.models for _ in range(2)
    ]
    product = (finished.directory / finished.results.models[-1].model).parent
    with (product / "history.csv").open() as file:
        expected = [row["hard_loss"] for row in csv.DictReader(file)]
    assert [row["hard_loss"] for row in curves[-2:]] == expected
    layers = json.loads((product / "quantization.json").read_text())
    assert [float(row["zeros"]) for row in rows(page, "layers")] == [
        layer["zeros"] for layer in layers
    ]


def test_chromium_draws_every_figure_offline_and_without_a_complaint(page):
    shown = show(page, "dark")
    assert shown.problems == []
    assert shown.requests == [page.resolve().as_uri()]
    assert len(shown.figures) == 3
    for figure in shown.figures:
        assert figure["width"] > 900
        assert figure["height"] > 100
        assert figure["marks"] >= len(rows(page, figure["name"]))
        assert figure["ink"] == shown.colours[0]
    assert shown.title.startswith("Ternary student, gradual coefficient: cnn2 on digits")


def test_what_was_evaluated_is_on_the_page(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.directory, run, symlinks=True)
    parts = [
        {"count": 0, "probability": 0.0, "frequency": 0.0},
        {"count": 4, "probability": 0.9, "frequency": 0.5},
    ]
    model = {
        "name": "student.tflite",
        "accuracy": 0.5,
        "loss": 0.25,
        "calibration_error": 0.4,
        "precision": [1.0, 0.5, None],
        "recall": [0.5, 1.0, None],
        "reliability": parts,
    }
    values = {**model, "name": "v", "loss": None, "calibration_error": None, "reliability": []}
    evaluation = {"class_names": ["cat", "dog", "emu"], "models": [values, model]}
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    html = write_run_page(run).read_text()
    row = "".join(f"<td>{cell}</td>" for cell in ("50.00", "0.2500", "40.00", "75.00", "75.00"))
    assert f"<td>student.tflite</td>{row}" in html
    assert "<td>dog</td><td>50.00</td><td>100.00</td>" in html
    assert "<td>emu</td><td></td><td></td>" in html
    with (run / "figures" / "reliability.csv").open() as file:
        drawn = list(csv.DictReader(file))
    assert [
        (row["model"], float(row["probability"]), float(row["frequency"])) for row in drawn
    ] == [("student.tflite", 0.9, 0.5)]


def test_a_run_that_is_not_finished_has_no_page(finished, tmp_path):
    (tmp_path / "recipe.json").write_text(finished.recipe.to_json())
    with pytest.raises(ValueError, match="must hold a finished run"):
        write_run_page(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


def test_a_float_run_of_a_users_own_models_says_what_cannot_be_drawn(finished, tmp_path):
    product = tmp_path / "own"
    product.mkdir()
    (product / "quantization.json").write_text(
        json.dumps([{"layer": "logits", "bits": 32, "zeros": 0.0, "step": None}])
    )
    recipe = finished.recipe.changed(bits=32, teacher="none")
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    (model, *_) = finished.results.models
    own = dataclasses.replace(model, model="own/model.keras", stage="")
    results = dataclasses.replace(finished.results, models=(own,), export=())
    (tmp_path / "results.json").write_text(results.to_json())
    html = write_run_page(tmp_path).read_text()
    assert "Not drawn: No stage has trained for an epoch." in html
    assert "Not drawn: No layer is quantized." in html
    assert html.count("<svg") == 1
