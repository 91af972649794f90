import json
import pathlib

import numpy as np
import pytest
from export.spoiled import spoil_float16

from tfqkd.cli.export import main


def test_the_student_is_exported_where_it_is_asked_to(finished, tmp_path, capsys):
    from tfqkd.data import load
    from tfqkd.runtime import LitertModel

    out_dir = tmp_path / "out"
    arguments = [f"--run_dir={finished.directory}", f"--output_dir={out_dir}"]
    arguments += ["--format=litert-float32, litert-int2", "--per_layer"]
    assert main(["export", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    files = {"litert-float32": "student-float32.tflite", "litert-int2": "student-int2.tflite"}
    written = {*files.values(), "report.json"}
    assert {entry.name for entry in out_dir.iterdir()} == written
    report = json.loads((out_dir / "report.json").read_text())
    assert [run["direct"] for run in report["files"][1]["runs"]] == [False, True]
    for table in ("× packed", "load ms", "against litert-float32", "entropy bytes"):
        assert table in out
    assert out.splitlines()[-1] == (
        f"Next            tfqkd-predict --model={out_dir / 'student-float32.tflite'} --images=IMAGE.png"
    )
    test = load("digits").test
    for form, name in files.items():
        (row,) = [line for line in out.splitlines() if line.startswith(f" {name} ")]
        size = (out_dir / name).stat().st_size
        assert row.split()[1:3] == [form, f"{size:,}"]
        assert row.split()[-2] == "100.0"
        right = LitertModel(out_dir / name)(test.images).argmax(axis=1) == test.labels
        assert np.mean(right) == finished.results.student.accuracy


def test_json_is_all_of_stdout_and_holds_the_report(finished, tmp_path, capfd):
    arguments = [f"--run_dir={finished.directory}", f"--output_dir={tmp_path}", "--nolatency"]
    arguments += ["--format=litert-int8", "--output=json"]
    assert main(["export", *arguments]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found.pop("directory") == str(tmp_path)
    (file,) = found["files"]
    assert found == json.loads((tmp_path / "report.json").read_text())
    assert file["bytes"] == (tmp_path / "student-int8.tflite").stat().st_size
    assert file["accuracy"] == finished.results.student.accuracy


def test_files_that_cannot_be_measured_are_reported_all_the_same(
    finished, tmp_path, capsys, monkeypatch
):
    from tfqkd.export.report import LayerPacking, Report

    path = str(tmp_path / "student-int8.tflite")
    packing = (LayerPacking("conv", 8, 2, 2.0, 1.5),)
    report = Report("litert-int8", path, 9, 9, 1, 0.0, 1.0, None, (), (), packing)
    monkeypatch.setattr("tfqkd.reporting.measurement.export_run", lambda *_, **__: [report])
    arguments = [f"--run_dir={finished.directory}", f"--output_dir={tmp_path}"]
    assert main(["export", *arguments, "--format=litert-int8"]) == 1
    out, err = capsys.readouterr()
    assert "× packed" in out and "must run to be measured" in err
    (file,) = json.loads((tmp_path / "report.json").read_text())["files"]
    assert (file["path"], file["runs"]) == ("student-int8.tflite", [])


@pytest.mark.parametrize(("others", "accuracy"), [([], 0), (["--centre_crop"], 1)])
def test_images_of_a_data_set_are_resized_and_cut_as_in_training(wide, capsys, others, accuracy):
    from tfqkd.runtime import LitertModel

    arguments = [f"--model={wide.model}", *wide.data, "--format=litert-float32", "--nolatency"]
    assert main(["export", *arguments, *others, "--output=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (file,) = found["files"]
    assert file["accuracy"] == accuracy
    assert LitertModel(pathlib.Path(found["directory"], file["path"])).centre_crop == bool(others)


def test_a_format_that_fails_is_the_exit_status_and_the_others_are_written(
    finished, tmp_path, capsys, monkeypatch
):
    spoil_float16(monkeypatch)
    arguments = [f"--run_dir={finished.directory}", f"--output_dir={tmp_path}", "--nolatency"]
    assert main(["export", *arguments, "--format=litert-float16,litert-float32"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("export: error: litert-float16: A file must run")
    assert "student-float32.tflite" in out and "student-float16.tflite" not in out
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"student-float32.tflite", "report.json"}
    (file,) = json.loads((tmp_path / "report.json").read_text())["files"]
    assert file["format"] == "litert-float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`run_dir` must be a directory"),
        (["--run_dir=no/such"], "`run_dir` must be a directory"),
        (["--run_dir=.", "--format=onnx"], "Unknown: onnx"),
        (["--run_dir=.", "--format="], "Name one."),
        (
            ["--run_dir=.", "--format=litert-int8", "--head=int8"],
            "`head` is an option of litert-int2",
        ),
        (["--run_dir=.", "--formats=litert-int8"], "Unknown command line flag 'formats'"),
        (["--run_dir=.", "--centre_crop"], "A run has a data set of its own"),
        (["--model=.", "--image_size=32"], "Images of a data set are resized"),
        (["--run_dir=.", "litert-int8"], "no arguments beside flags"),
    ],
)
def test_a_mistake_is_said_before_tensorflow_loads(arguments, message, capsys, no_tensorflow):
    assert main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("export: error: ")
    assert message in err


def test_a_missing_runtime_is_said_first(finished, capsys, no_tensorflow, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = [f"--run_dir={finished.directory}", "--format=litert-int8"]
    assert main(["export", *arguments]) == 1
    assert "pip install 'tfqkd[export]'" in capsys.readouterr().err


def test_a_directory_without_a_run_is_one_message(tmp_path, capsys):
    assert main(["export", f"--run_dir={tmp_path}", "--format=litert-int8"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("export: error: A run directory must hold recipe.json")
    assert list(tmp_path.iterdir()) == []
