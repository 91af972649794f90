import csv
import dataclasses
import json
import shutil
import statistics

import pytest

from benchmarks import reproduction, trained
from benchmarks.trained import row_path
from tfqkd.compat import keras
from tfqkd.export.exporter import export
from tfqkd.recipe.recipe import Recipe
from tfqkd.storage import tree_digest
from tfqkd.training.results import Results

ANNEALED = "ternary, teacher, annealed coefficient"
SEEDED = {0: 0.75, 2: 0.8125}


_measured: dict[tuple[str, bool], int] = {}


@pytest.fixture(autouse=True)
def files_are_written_once(monkeypatch):
    """Measures the file of a model when it is first met: the runs here hold three models, many times."""
    measure = trained.Done.file_bytes

    def remembered(self):
        key = (tree_digest(self.model), bool(self.figures.quantized_share))
        if key not in _measured:
            _measured[key] = measure(self)
        return _measured[key]

    monkeypatch.setattr(trained.Done, "file_bytes", remembered)


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The 2-bit file of the ternary student, in a directory of its own."""
    model = keras.models.load_model(finished.model_path("ternary"), compile=False)
    directory = tmp_path_factory.mktemp("exported")
    export(model, directory, "litert-int2")
    return directory


def write_run(finished, directory, recipe, seeded):
    """A comparison whose annealed students have these accuracies by their seeds."""
    shutil.copytree(finished.directory, directory)
    (directory / "recipe.json").write_text(recipe.to_json())
    *shared, student = finished.results.models
    students = [
        dataclasses.replace(student, label=ANNEALED, seed=seed, accuracy=accuracy)
        for seed, accuracy in seeded.items()
    ]
    results = dataclasses.replace(finished.results, models=(*shared, *students))
    (directory / "results.json").write_text(results.to_json())


@pytest.fixture
def comparison(finished, exported, tmp_path, monkeypatch):
    """A comparison of two seeds, in the accuracies of `SEEDED`."""
    monkeypatch.chdir(tmp_path)
    recipe = finished.recipe.changed({"run.pretrain_seed": 0})
    write_run(finished, tmp_path / "runs", recipe, SEEDED)
    shutil.copytree(exported, tmp_path / "runs" / "export", dirs_exist_ok=True)
    return tmp_path / "runs"


def test_rows_that_are_done_are_found_in_the_order_of_the_table(comparison):
    rows = trained.done_rows(comparison)
    assert [(row, [one.seed for one in done]) for row, done in rows.items()] == [
        ("float teacher", [0]), ("float student", [0]), (ANNEALED, [0, 2])
    ]  # fmt: skip


def test_the_table_has_what_the_runs_measured(comparison, finished, capsys):
    assert reproduction.main(["reproduction", f"--run_dir={comparison}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    teacher, student, annealed = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]
    )
    models = finished.results.models
    assert teacher[0] == "float teacher"
    assert float(teacher[4]) == pytest.approx(100 * models[0].accuracy, abs=0.005)
    assert student[1] == annealed[1] == f"{models[1].parameters:,}"
    # The 2-bit file is the smaller one, and only the student trained with ternary weights has it.
    assert int(annealed[3].replace(",", "")) < int(student[3].replace(",", ""))
    assert (student[2], annealed[2]) == ("0.0", f"{100 * models[-1].quantized_share:.1f}")
    assert annealed[4] == f"78.12 ± {statistics.stdev([75, 81.25]):.2f}"
    assert annealed[5] == "2"
    assert (comparison.parent / "results" / "digits" / "table.md").read_text().splitlines() == lines


def test_the_table_has_the_rows_of_other_run_directories_too(comparison, finished, capsys):
    recipe = finished.recipe.changed({"run.pretrain_seed": 0})
    for name, seed in (("first", 0), ("second", 2)):
        seeded = recipe.changed(seed=seed)
        write_run(finished, comparison.with_name(name), seeded, {seed: SEEDED[seed]})
    assert reproduction.main(["reproduction", f"--run_dir={comparison.with_name('first')}"]) == 0
    assert "75.00 |     1" in capsys.readouterr().out.splitlines()[-1]
    assert reproduction.main(["reproduction", f"--run_dir={comparison.with_name('second')}"]) == 0
    assert f"78.12 ± {statistics.stdev([75, 81.25]):.2f} |     2" in capsys.readouterr().out


def test_rows_of_two_recipes_are_no_table(comparison, finished, capsys):
    assert reproduction.main(["reproduction", f"--run_dir={comparison}"]) == 0
    recipe = finished.recipe.changed({"run.pretrain_seed": 0}, seed=1, coefficient=0.25)
    write_run(finished, comparison.with_name("other"), recipe, {1: 0.5})
    assert reproduction.main(["reproduction", f"--run_dir={comparison.with_name('other')}"]) == 2
    assert "'coefficient': (1.0, 0.25)" in capsys.readouterr().err
    assert not row_path(comparison.parent / "results" / "digits", ANNEALED, 1).exists()


@pytest.mark.parametrize(("at", "role"), [(0, "float teacher"), (1, "float student")])
def test_rows_that_began_from_two_networks_are_no_table(comparison, capsys, at, role):
    assert reproduction.main(["reproduction", f"--run_dir={comparison}"]) == 0
    kept = comparison.parent / "results" / "digits"
    before = (kept / "table.md").read_text()
    other = comparison.with_name("other")
    shutil.copytree(comparison, other)

    def lose(loss):
        models = list(Results.read(comparison).models)
        models[at] = dataclasses.replace(models[at], loss=loss, accuracy=0.0)
        results = dataclasses.replace(Results.read(comparison), models=tuple(models))
        (other / "results.json").write_text(results.to_json())

    loss = json.loads((row_path(kept, role, 0) / "results.json").read_text())["loss"]
    lose(loss * 1.001)
    assert reproduction.main(["reproduction", f"--run_dir={other}"]) == 2
    assert f"must share their {role}" in capsys.readouterr().err
    assert (kept / "table.md").read_text() == before
    lose(loss * 1.00001)
    assert reproduction.main(["reproduction", f"--run_dir={other}"]) == 0


def test_every_row_and_seed_keeps_recipe_results_and_history(comparison, finished):
    assert reproduction.main(["reproduction", f"--run_dir={comparison}"]) == 0
    place = comparison.parent / "results" / "digits"
    assert sorted(path.name for path in place.iterdir()) == [
        "float_student-seed0",
        "float_teacher-seed0",
        "table.md",
        "ternary-teacher-annealed_coefficient-seed0",
        "ternary-teacher-annealed_coefficient-seed2",
    ]
    for seed, accuracy in SEEDED.items():
        one = row_path(place, ANNEALED, seed)
        recipe = finished.recipe.changed({"run.pretrain_seed": 0}, seed=seed)
        assert Recipe.from_json((one / "recipe.json").read_text()) == recipe
        assert json.loads((one / "results.json").read_text())["accuracy"] == accuracy
        rows = list(csv.DictReader((one / "history.csv").open()))
        assert [row["coefficient"] for row in rows] == ["1.0", "0.0"]


def test_a_directory_without_a_finished_comparison_is_one_message(tmp_path, capsys):
    recipe = Recipe(dataset="digits", student="cnn2", teacher="cnn4")
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    assert reproduction.main(["reproduction", f"--run_dir={tmp_path}"]) == 1
    assert "must hold a finished run" in capsys.readouterr().err
