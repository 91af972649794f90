"""The commands as a user gives them, one after the other on one directory."""

import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from training.finished import RECIPE, finished_run

from tfqkd.recipe.recipe import Recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "bin"
SETTINGS = (
    "--dataset=digits",
    "--data.crop_padding=1",
    "--data.flip=false",
    "--student=cnn2",
    "--teacher=cnn4",
    "--teacher.training.epochs=2",
    "--student.training.epochs=2",
    "--quantized.training.epochs=2",
    "--training.batch_size=64",
    "--training.schedule=cosine",
    "--quantized.training.learning_rate=0.05",
    "--formats=litert-int8",
)


@pytest.fixture
def here(tmp_path_factory, tmp_path, monkeypatch, capsys):
    """Calls commands in this process; all that is trained is there already, but the results are lost."""
    run_dir = tmp_path / "runs" / "digits"
    finished = finished_run(tmp_path_factory)
    shutil.copytree(finished.products, run_dir / "products", symlinks=True)
    monkeypatch.chdir(tmp_path)

    def call(program, *arguments):
        main = importlib.import_module(f"tfqkd.cli.{program}").main
        capsys.readouterr()
        assert main([str(ROOT / "tfqkd" / "cli" / f"{program}.py"), *arguments]) == 0
        return capsys.readouterr().out

    return call


@pytest.fixture
def programs(tmp_path):
    """Calls the programs in bin/."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def call(program, *arguments):
        child = subprocess.run(
            [BIN / program, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        return child.stdout

    return call


def row(text, beginning):
    """The cells of the one table row that begins so."""
    (line,) = [
        line.strip()
        for line in text.splitlines()
        if line.strip().startswith(f"{beginning}  ") and "%" not in line
    ]
    return line.removeprefix(beginning).split()


@pytest.mark.parametrize("way", ["here", pytest.param("programs", marks=pytest.mark.slow)])
def test_train_evaluate_export(request, tmp_path, way):
    call = request.getfixturevalue(way)
    out = call("train", *SETTINGS)
    run_dir = tmp_path / "runs" / "digits"
    results = json.loads((run_dir / "results.json").read_text())
    recipe = Recipe.from_json((run_dir / "recipe.json").read_text())
    # What is left to the machine is written as it was decided.
    assert recipe == RECIPE.changed({"data.stream": "off"})
    program, *flags = (run_dir / "command.txt").read_text().split()
    assert program == str(BIN / "train")
    assert flags == [*SETTINGS, "#", "in", str(tmp_path)]
    assert len(results["models"]) == 3
    table = out[out.index("test accuracy %") :]
    for model in results["models"]:
        assert row(table, model["label"]) == [
            model["name"],
            f"{model['parameters']:,}",
            f"{100 * model['quantized_share']:.1f}",
            f"{100 * model['accuracy']:.2f}",
            f"{100 * model['top5']:.2f}",
            f"{model['loss']:.4f}",
        ]
    (report,) = results["export"]
    assert row(table, "student-int8.tflite")[:2] == ["litert-int8", f"{report['bytes']:,}"]

    again = call("train", *SETTINGS)
    assert again.startswith("The run in runs/digits is done already; nothing to do.\n")
    assert again[again.index("test accuracy %") :] == table

    out = call("export", "--run_dir=runs/digits", "--format=litert-float32")
    assert row(out, "student-float32.tflite")[0] == "litert-float32"
    assert {file.name for file in (run_dir / "export").glob("*.tflite")} == {
        "student-int8.tflite",
        "student-float32.tflite",
    }

    out = call("evaluate", "--run_dir=runs/digits")
    evaluation = json.loads((run_dir / "evaluation.json").read_text())
    student, *files = evaluation["models"][2:]
    assert [file["name"] for file in files] == ["student-float32.tflite", "student-int8.tflite"]
    for file in files:
        assert file["accuracy"] == student["accuracy"] == results["models"][2]["accuracy"]
        assert row(out, file["name"])[0] == f"{100 * student['accuracy']:.2f}"
        assert np.sum(file["confusion"]) == 600
    assert (run_dir / "confusion.png").read_bytes().startswith(b"\x89PNG")
