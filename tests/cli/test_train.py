import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tfqkd.cli.train import main
from tfqkd.progress import ProgressBar
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.values import to_text
from tfqkd.training.directory import RunDirectory
from tfqkd.training.presets import PAPER, BornAgain, Chain, Comparison
from tfqkd.training.results import ModelResult, Results

from .flags import of_recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wrong=1"], "Unknown command line flag 'wrong'"),
        (["--bits=two"], "`bits` must be a whole number. Received: bits=two."),
        (["--schedule=slow"], "must be one of constant, gradual, cosine, exponential, step."),
        (["--flagfile=no/such.flags"], "no/such.flags"),
        (["configs/quickstart.flags"], "no arguments beside flags. Received: configs/quickstart"),
        (["--temperature=-2"], "`temperature` must be above 0. Received: temperature=-2.0."),
        (["--temperature=nan"], "`temperature` must be finite"),
        (["--student=resnet21"], "`student`: The depth of a ResNet must be 6n+2"),
        (["--teacher=missing.keras"], "`teacher` must be a known name or the path"),
        (["--formats=onnx"], "Unknown: onnx"),
        (["--quantize.layer_bits=a=1"], "`quantize.layer_bits` must hold rules"),
        (
            ["--training.milestones=0.5,x"],
            "`training.milestones` must be a number. Received: training.milestones=x.",
        ),
        (["--controls"], "`repeats` and `controls` belong to a comparison"),
        (["--repeats=2"], "`repeats` and `controls` belong to a comparison"),
        (["--repeats=0", "--compare"], "repeats"),
        (["--schedule=exponential"], "must start and end above zero"),
    ],
)
def test_a_mistake_is_said_before_tensorflow_loads(
    arguments, message, capsys, no_tensorflow, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--dataset=digits", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("train: error: ")
    assert message in err
    assert err.endswith("See train --help.\n")
    assert list(tmp_path.iterdir()) == []


def test_the_manual_page_lists_every_setting_with_its_default(capsys):
    assert main(["train", "--help"]) == 0
    sections = dict(
        part.split("\n", 1) for part in capsys.readouterr().out.split("\n\n") if "\n" in part
    )
    for name, setting in Recipe.settings().items():
        group = setting.group
        (section,) = [
            text for title, text in sections.items() if title.startswith(f"{group.upper()}:")
        ]
        title = rf"{group}\.training\.\*" if setting.base else re.escape(name)
        pattern = rf"^    --{title}=(.*)\n((?: {{8}}.*(?:\n|$))+)"
        ((value, entry),) = re.findall(pattern, section, re.M)
        text, default = " ".join(entry.split()), to_text(setting.default)
        if setting.base:
            own = f"{name.rpartition('.')[2]}={default}"
            assert setting.default is None or own in text
            continue
        assert text == f"{setting.help} [{default}]" if default else setting.help
        if setting.choices:
            assert value.startswith("|".join(setting.choices))
        if setting.label != name:
            assert value.endswith(f", --{setting.label}")
    assert "--[no]compare" in sections["WHAT TO RUN"]


def test_a_missing_runtime_is_said_before_training(capsys, no_tensorflow, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = ["train", "--dataset=digits", f"--run_dir={tmp_path / 'run'}"]
    assert main([*arguments, "--formats=litert-int8"]) == 1
    assert "needs the module ai_edge_litert" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_done_says_so_and_shows_its_results(finished, capsys, no_tensorflow):
    assert main(["train", *of_recipe(finished.recipe), f"--run_dir={finished.directory}"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"The run in {finished.directory} is done already; nothing to do.\n")
    for model in finished.results.models:
        row = next(line for line in out.splitlines() if model.label in line)
        assert f"{100 * model.accuracy:.2f}" in row
        assert f"{model.loss:.4f}" in row
        assert str(model.parameters) in row.replace(",", "")
    assert "student-int8.tflite" in out
    assert f"Run directory   {finished.directory}" in out


def test_another_recipe_on_the_directory_is_one_message(finished, capsys, no_tensorflow):
    arguments = [*of_recipe(finished.recipe), f"--run_dir={finished.directory}", "--temperature=7"]
    assert main(["train", *arguments]) == 1
    assert capsys.readouterr().err == (
        f"train: error: A run directory belongs to one recipe. Received: another one for "
        f"{finished.directory}:\n  temperature: 2.0 there, 7.0 given\n"
        "Give another --run_dir, or the recipe of this one.\n"
    )


def test_a_data_set_that_is_not_there_is_one_message_and_takes_no_directory(tmp_path, capsys):
    arguments = [f"--run_dir={tmp_path / 'run'}", f"--data_dir={tmp_path}"]
    assert main(["train", "--dataset=cifr10", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(
        "train: error: A data set is `digits`, `folder:PATH`, `arrays:FILE.npz`, or one of"
    )
    assert "Received: 'cifr10'. Did you mean cifar10" in err
    assert main(["train", "--dataset=mnist", *arguments]) == 1
    err = capsys.readouterr().err
    assert "A data set must be on disk, or its download must be requested" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_the_directory_is_named_by_the_data_set(capsys, tmp_path, monkeypatch, no_tensorflow):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("tfqkd.cli.train.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *values: seen.append(values))
    for dataset in ("digits", "imagenet_resized/8x8"):
        argv = ["bin/train", f"--dataset={dataset}", "--teacher=none"]
        assert main(argv) == 0
        recipe, directory, products, command, preset, progress = seen.pop()
        assert (recipe, command) == (Recipe(dataset=dataset, teacher="none"), argv)
        assert (preset, progress) == (PAPER, ProgressBar)
        assert str(directory) == f"runs/{dataset.replace('/', '_')}"
        assert products == directory / "products"
        assert main([*argv, "--products=shared"]) == 0
        assert seen.pop()[1:3] == (directory, pathlib.Path("shared"))


def test_a_tracker_is_told_of_the_stages_of_the_run(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("tfqkd.cli.train.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *values: values[-1])
    monkeypatch.setattr("tfqkd.reporting.tracking.tracked", lambda *names: asked.append(names) or 1)
    argv = ["bin/train", "--dataset=digits", "--teacher=none", f"--run_dir={tmp_path / 'first'}"]
    assert main([*argv, "--log_to=mlflow"]) == 0
    assert asked == [("mlflow", "first")]
    assert (
        capsys.readouterr().out
        == f"Next            tfqkd-evaluate --run_dir={tmp_path / 'first'}\n"
    )


def test_a_comparison_is_asked_for_by_its_flags(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("tfqkd.cli.train.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *values: seen.append(values))
    argv = ["bin/train", "--compare", "--repeats=3", "--seed=5", f"--run_dir={tmp_path}"]
    assert main([*argv, "--controls", "--products=shared"]) == 0
    recipe, directory, products, command, preset, _ = seen.pop()
    assert (recipe, directory, products) == (Recipe(seed=5), tmp_path, pathlib.Path("shared"))
    assert command == [*argv, "--controls", "--products=shared"]
    assert preset == Comparison(controls=True, repeats=3)


@pytest.mark.parametrize(
    ("file", "preset"), [("assistants", Chain(("cnn8",))), ("born_again", BornAgain(3))]
)
def test_a_chain_is_one_flag_file(file, preset, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("tfqkd.cli.train.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *values: seen.append(values))
    assert (
        main(["bin/train", f"--flagfile={ROOT}/configs/{file}.flags", f"--run_dir={tmp_path}"]) == 0
    )
    recipe, *_, found, _ = seen.pop()
    assert found == preset
    assert len(preset(recipe)) == {"assistants": 4, "born_again": 5}[file]


def test_a_run_is_one_thing_at_a_time(capsys):
    assert main(["bin/train", "--compare", "--generations=2"]) == 2
    err = capsys.readouterr().err
    assert "only one of --compare, --assistants and --generations. Received: --compare and" in err


def test_a_comparison_that_is_done_says_so_and_shows_its_table(tmp_path, capsys, no_tensorflow):
    recipe = Recipe(dataset="digits", student="cnn2", teacher="cnn4")
    directory = RunDirectory(tmp_path / "runs", recipe, Comparison(repeats=2))
    directory.begin()
    figures = {"name": "cnn2", "parameters": 1234, "top5": 1.0, "loss": 1.0, "model": "m.keras"}
    names = {"role": "quantized", "label": "ternary, no teacher"}
    models = [ModelResult(**names, **figures, accuracy=each) for each in (0.5, 0.75)]
    directory.write_results(Results(models=tuple(models)))
    (tmp_path / "runs" / "report.html").touch()
    arguments = ["train", *of_recipe(recipe), f"--run_dir={tmp_path / 'runs'}"]
    assert main([*arguments, "--compare", "--repeats=2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"The run in {tmp_path / 'runs'} is done already; nothing to do.\n")
    row = next(line for line in out.splitlines() if "no teacher" in line)
    assert row.split()[3:8] == ["cnn2", "1,234", "0.0", "62.50", "±"]
    for wrong, message in (
        (["--compare"], "repeats: 2 there, 1 given"),
        (["--compare", "--repeats=2", "--controls"], "controls: False there, True given"),
        (["--compare", "--repeats=2", "--bits=4"], "bits: 2 there, 4 given"),
        ([], "preset: 'Comparison' there, 'Paper' given"),
    ):
        assert main([*arguments, *wrong]) == 1
        assert message in capsys.readouterr().err


def test_a_dry_run_shows_what_would_be_done_and_makes_nothing(capsys, tmp_path, monkeypatch):
    from tfqkd.reporting import forecast

    seen = []

    def foretold(*asked):
        seen.append(asked)
        return [forecast.Forecast("float student (cnn2), seed 0", 304, 5, "no product", 10.0)]

    monkeypatch.setattr("tfqkd.cli.train.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *_: pytest.fail("It ran."))
    monkeypatch.setattr(forecast, "forecast", foretold)
    directory = tmp_path / "run"
    asked = ["--dataset=digits", "--teacher=none", "--student=cnn2", f"--run_dir={directory}"]
    assert main(["train", *asked, "--dry_run"]) == 0
    recipe = Recipe(dataset="digits", teacher="none", student="cnn2")
    assert seen == [(recipe, directory, directory / "products", PAPER)]
    out = capsys.readouterr().out
    assert "float student (cnn2), seed 0          304             5   0:00:10" in out
    assert out.endswith(f"\nNext            tfqkd-train {' '.join(asked)}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_kept_as_it_is_typed(tmp_path, monkeypatch, no_tensorflow):
    seen = []
    monkeypatch.setattr("tfqkd.cli.train.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *values: seen.append(values[3]))
    monkeypatch.chdir(ROOT)
    source = str(ROOT / "tfqkd" / "cli" / "train.py")
    assert main([source, "--flagfile=configs/quickstart.flags", "--nocompare", "--repeats=1"]) == 0
    assert seen == [
        ["bin/train", "--flagfile=configs/quickstart.flags", "--nocompare", "--repeats=1"]
    ]


MISSING = """
import json, resource, sys
from tfqkd.cli.train import main
status = main(["train", "--run_dir=run", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([status, used.ru_utime + used.ru_stime, "tensorflow" in sys.modules]))
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=folder:none"], "`folder:PATH` must name a folder"),
        (["--dataset=cifar100", "--data_dir=none"], "`data_dir` must be the directory"),
        (["--dataset=folder:none", "--compare"], "`folder:PATH` must name a folder"),
    ],
)
def test_a_missing_place_of_data_is_said_at_once(tmp_path, arguments, message):
    child = subprocess.run(
        [sys.executable, "-c", MISSING, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    status, seconds, loaded = json.loads(child.stdout)
    assert (status, loaded) == (1, False)
    assert child.stderr.startswith(f"train: error: {message}")
    # Its own time, not that of the clock: the machine may be busy.
    assert seconds < 2.0
    assert list(tmp_path.iterdir()) == []


HELP = """
import json, resource, sys
from tfqkd.cli.{command} import main
status = main(["{command}", "{argument}"])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([status, used.ru_utime + used.ru_stime, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["train", "evaluate", "export", "products", "study"])
def test_help_takes_less_than_a_second_and_no_tensorflow(command):
    child = subprocess.run(
        [sys.executable, "-c", HELP.format(command=command, argument="--help")],
        capture_output=True,
        text=True,
        check=True,
    )
    status, seconds, modules = json.loads(child.stderr)
    assert status == 0
    assert child.stdout.startswith(f"NAME\n    {command}\n")
    # Its own time, not that of the clock: the machine may be busy.
    assert seconds < 1.0
    heavy = {"tensorflow", "keras", "tf_keras", "tensorflow_datasets", "numpy", "matplotlib"}
    assert heavy.isdisjoint(modules)
