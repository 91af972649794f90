"""A grid without Optuna: the same trials as with it, kept in a file, gone on with."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest
from training import numpy_front

from tfqkd import fronts
from tfqkd.recipe.recipe import Recipe
from tfqkd.reporting.drawings import Missing
from tfqkd.reporting.study_page import figures
from tfqkd.study import local
from tfqkd.study.local import LocalStudy, run_local_study
from tfqkd.study.plan import Plan
from tfqkd.study.results import StudyResults
from tfqkd.study.space import parse_space
from tfqkd.study.trial import TrialRunner

from .tried import begin

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPE = Recipe(
    {
        "data.validation_split": 0.2,
        "training.batch_size": 64,
        "teacher.training.epochs": 1,
        "student.training.epochs": 1,
        "quantized.training.epochs": 1,
        "run.pretrain_seed": 0,
    },
    dataset="digits",
    student="cnn2",
    teacher="cnn4",
)


def make_plan(recipe=RECIPE, **changes):
    values = {"sampler": "grid", "trials": 0, "repeats": 2, "pruner": "none"}
    space = parse_space(["temperature=1,4", "bits=2,3"])
    return Plan(recipe=recipe, space=space, **{**values, **changes})


@pytest.fixture(autouse=True)
def on_numpy_front(monkeypatch):
    monkeypatch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    directory = tmp_path_factory.mktemp("studies") / "grid"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)
        return directory, run_local_study(make_plan(), directory, ["bin/study", "--x"])


def test_its_trials_are_those_that_optuna_would_queue(tmp_path):
    plan = make_plan()
    queued = begin(tmp_path, plan).get_trials()
    trials = LocalStudy(plan, tmp_path / "grid").get_trials()
    assert [trial.user_attrs for trial in trials] == [trial.user_attrs for trial in queued]
    fixed = [trial.system_attrs.get("fixed_params", {}) for trial in queued]
    assert [trial.params for trial in trials] == fixed


def test_every_setting_and_its_control_are_tried_at_every_seed(studied):
    directory, results = studied
    assert len(results.taught) == 4 * 2
    assert len(results.controls) == 2 * 2
    assert results.counts["complete"] == 6
    assert not results.taught["gain"].isna().any()
    made = [path.name.split("-")[0] for path in (directory / "products").glob("*/")]
    assert {stage: made.count(stage) for stage in ("teacher", "student", "quantized")} == {
        "teacher": 1,
        "student": 1,
        "quantized": 12,
    }
    for row in results.runs.itertuples():
        run = directory / f"trials/{row.trial:04d}-seed{row.seed}"
        kept = json.loads((run / "results.json").read_text())["models"][-1]
        assert row.test_accuracy == kept["accuracy"]
    assert (directory / "command.txt").read_text().startswith("bin/study --x  # in ")


def test_what_is_done_is_read_and_not_run_again(studied, monkeypatch):
    directory, results = studied
    monkeypatch.setattr(TrialRunner, "__call__", None)
    again = run_local_study(make_plan(), directory)
    assert again.runs.equals(results.runs)
    assert (
        StudyResults.read(LocalStudy(make_plan(), directory), make_plan()).best() == results.best()
    )


def test_a_grid_that_was_interrupted_goes_on_with_the_next_trial(tmp_path, monkeypatch):
    run, tried = TrialRunner.__call__, []

    def interrupted(self, trial):
        tried.append(trial.number)
        if len(tried) == 3:
            raise KeyboardInterrupt
        return run(self, trial)

    monkeypatch.setattr(TrialRunner, "__call__", interrupted)
    plan = make_plan(repeats=1)
    with pytest.raises(KeyboardInterrupt):
        run_local_study(plan, tmp_path)
    assert len(run_local_study(plan, tmp_path).runs) == 6
    assert tried == [0, 1, 2, 2, 3, 4, 5]


def test_a_trial_that_breaks_off_is_tried_again_and_three_end_the_grid(tmp_path, monkeypatch):
    run, tried, broken = TrialRunner.__call__, [], {1}

    def breaks(self, trial):
        tried.append(trial.number)
        if trial.number in broken:
            raise ValueError("The loss must stay finite.")
        return run(self, trial)

    monkeypatch.setattr(TrialRunner, "__call__", breaks)
    plan = make_plan(repeats=1)
    assert run_local_study(plan, tmp_path).counts["fail"] == 1
    broken.clear()
    assert run_local_study(plan, tmp_path).counts["fail"] == 0
    assert tried == [0, 1, 2, 3, 4, 5, 1]
    broken |= set(range(6))
    with pytest.raises(ValueError, match="must stay finite"):
        run_local_study(plan, tmp_path / "other")
    assert tried[7:] == [0, 1, 2]


def test_another_study_in_the_directory_is_refused(studied):
    directory, _ = studied
    with pytest.raises(ValueError, match=r"belongs to one recipe.*\n  repeats: 2 there, 1 given"):
        run_local_study(make_plan(repeats=1), directory)


def test_what_needs_a_package_is_not_drawn(studied):
    _, results = studied
    missing = [each for each in figures(results) if isinstance(each, Missing)]
    reasons = [each.reason for each in missing if "pip install" in each.reason]
    assert len(reasons) == 2
    assert local.LOCAL_FILE == "study.json"


WITHOUT = """
import sys
for name in ("optuna", "sqlalchemy", "statsmodels"):
    sys.modules[name] = None
sys.path.insert(0, "tests")
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "optuna" else find(name, *rest)
from tfqkd import fronts
from training import numpy_front
fronts.FRONTS["tfmot"] = numpy_front.__name__
from tfqkd.cli.study import main
sys.exit(main(["bin/study", *sys.argv[1:]]))
"""


PACKAGES = {"optuna", "sqlalchemy", "statsmodels"}
LOADED = (
    *(
        "cli/study",
        "study/local",
        "study/trial",
        "study/queue",
        "study/results",
        "study/seed_result",
    ),
    *("study/plan", "study/space", "study/attributes", "study/extras", "reporting/study_page"),
    *("reporting/study_tables", "reporting/study_figures", "reporting/study_arms"),
)


@pytest.mark.parametrize("name", LOADED)
def test_what_a_grid_loads_imports_no_package_of_studies(name):
    for node in ast.parse((ROOT / f"tfqkd/{name}.py").read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert PACKAGES.isdisjoint(each.split(".")[0] for each in names)
        inside = {each.removeprefix("tfqkd.").replace(".", "/") for each in names}
        rooms = ("study/", "reporting/study", "reporting/analysis")
        assert {each for each in inside if each.startswith(rooms)} <= set(LOADED)


@pytest.mark.slow
def test_the_command_needs_no_package_of_studies_for_it(tmp_path):
    arguments = [
        "--dataset=digits --student=cnn2 --teacher=cnn4 --data.validation_split=0.2",
        "--teacher.training.epochs=1 --student.training.epochs=1 --quantized.training.epochs=1",
        "--training.batch_size=64 --vary=temperature=1,4",
    ]
    words = " ".join([*arguments, f"--run_dir={tmp_path / 'run'}"]).split()
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("Optuna is not installed: the trials run one after the other")
    assert (tmp_path / "run" / "report.html").exists()
    assert "temperature=" in (tmp_path / "run" / "best.flags").read_text()
    assert not (tmp_path / "run" / "study.db").exists()
