"""The programs as a user runs them, one after the other on one directory."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

from tfqkd.training.recipe import Recipe

BIN = pathlib.Path(__file__).resolve().parents[2] / "bin"
SETTINGS = (
    "--dataset=digits",
    "--crop_padding=1",
    "--noflip",
    "--student=cnn2",
    "--teacher=cnn4",
    "--teacher_epochs=1",
    "--student_epochs=1",
    "--quantized_epochs=1",
    "--batch_size=64",
    "--formats=litert-int8",
)


def call(directory, program, *arguments):
    """Runs a program in the directory; returns what it printed. It must succeed."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    child = subprocess.run(
        [BIN / program, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


def row(text, beginning):
    """The cells of the one table row that begins so."""
    (line,) = [
        line.strip()
        for line in text.splitlines()
        if line.strip().startswith(f"{beginning}  ") and "%" not in line
    ]
    return line.removeprefix(beginning).split()


def test_train_evaluate_export(tmp_path):
    out = call(tmp_path, "train", *SETTINGS)
    run_dir = tmp_path / "runs" / "digits"
    results = json.loads((run_dir / "results.json").read_text())
    recipe = Recipe.from_json((run_dir / "recipe.json").read_text())
    assert (recipe.student, recipe.teacher, recipe.quantized_epochs) == ("cnn2", "cnn4", 1)
    program, *flags = (run_dir / "command.txt").read_text().split()
    assert program == str(BIN / "train")
    assert flags == [*SETTINGS, "#", "in", str(tmp_path)]
    assert len(results["models"]) == 3
    table = out[out.index("test accuracy %") :]
    for model in results["models"]:
        assert row(table, model["role"]) == [
            f"{model['parameters']:,}",
            f"{100 * model['accuracy']:.2f}",
            f"{100 * model['top5']:.2f}",
            f"{model['loss']:.4f}",
        ]
    (report,) = results["export"]
    assert row(table, "student-int8.tflite")[:2] == ["litert-int8", f"{report['bytes']:,}"]

    again = call(tmp_path, "train", *SETTINGS)
    assert again.startswith("The run in runs/digits is done already; nothing to do.\n")
    assert again[again.index("test accuracy %") :] == table

    out = call(tmp_path, "export", "--run_dir=runs/digits", "--format=litert-float32")
    assert row(out, "runs/digits/export/student-float32.tflite")[0] == "litert-float32"
    assert {file.name for file in (run_dir / "export").glob("*.tflite")} == {
        "student-int8.tflite",
        "student-float32.tflite",
    }

    out = call(tmp_path, "evaluate", "--run_dir=runs/digits")
    evaluation = json.loads((run_dir / "evaluation.json").read_text())
    student, *files = evaluation["models"][2:]
    assert [file["name"] for file in files] == ["student-float32.tflite", "student-int8.tflite"]
    for file in files:
        assert file["accuracy"] == student["accuracy"] == results["models"][2]["accuracy"]
        assert row(out, file["name"])[0] == f"{100 * student['accuracy']:.2f}"
        assert np.sum(file["confusion"]) == 600
    assert (run_dir / "confusion.png").read_bytes().startswith(b"\x89PNG")
