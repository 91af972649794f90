import json
import shutil

import numpy as np
import pytest
from training.linear import save_linear

from tfqkd.cli.evaluate import main
from tfqkd.cli.export import main as export
from tfqkd.compat import keras, tf
from tfqkd.data import load
from tfqkd.export.formats import FORMATS
from tfqkd.fronts.front import Opened
from tfqkd.reporting import measurement
from tfqkd.runtime.outputs import LOGITS


def test_every_model_and_file_is_in_the_table(finished, capsys):
    assert main(["evaluate", f"--run_dir={finished.directory}"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert str(finished.directory) in lines
    written = json.loads((finished.directory / "evaluation.json").read_text())["models"]
    assert [entry["name"] for entry in written] == [
        "float teacher (cnn4)",
        "float student (cnn2)",
        "ternary student, gradual coefficient (cnn2)",
        "student-int8.tflite",
    ]
    for entry in written:
        (row,) = [line for line in lines if entry["name"] in line]
        assert row.split()[-5:] == [
            f"{100 * entry['accuracy']:.2f}",
            f"{100 * entry['top5']:.2f}",
            f"{entry['loss']:.4f}",
            f"{100 * entry['calibration_error']:.2f}",
            f"{100 * entry['agreement']:.2f}",
        ]
    accuracies = [model.accuracy for model in finished.results.models]
    assert [entry["accuracy"] for entry in written] == [*accuracies, accuracies[-1]]


def test_json_is_all_of_stdout_and_holds_what_the_table_shows(finished, capfd):
    asked = f"--run_dir={finished.directory}"
    assert main(["evaluate", asked, "--output=json"]) == 0
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    assert run["directory"] == str(finished.directory)
    written = json.loads((finished.directory / "evaluation.json").read_text())["models"]
    for entry in written:
        del entry["confusion"], entry["reliability"]
        entry["over_first"] = None
    assert run["models"] == written
    file = finished.directory / "export" / "student-int8.tflite"
    assert main(["evaluate", f"--models={file}", "--dataset=digits", "--output=json"]) == 0
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    assert run == {
        "directory": None,
        "models": [{**written[-1], "name": str(file), "agreement": None}],
    }


@pytest.mark.slow
def test_every_file_that_is_exported_is_as_good_as_the_student(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished.directory, run, symlinks=True)
    # Files of integers alone want a model that was trained for them.
    forms = [form for form in FORMATS.values() if not form.is_integer]
    asked = f"--format={','.join(form.name for form in forms)}"
    assert export(["export", f"--run_dir={run}", asked, "--nolatency"]) == 0
    assert main(["evaluate", f"--run_dir={run}"]) == 0
    capsys.readouterr()
    written = json.loads((run / "evaluation.json").read_text())["models"]
    accuracies = {entry["name"]: entry["accuracy"] for entry in written}
    student = finished.results.student.accuracy
    for form in forms:
        allowed = 0.005 if form.name in ("litert-float16", "litert-int8-full") else 0
        assert abs(accuracies[form.file_name] - student) <= allowed


@pytest.mark.parametrize("arguments", [[], ["--run_dir="], ["--run_dir=no/such/directory"]])
def test_the_run_directory_must_be_given(arguments, capsys, no_tensorflow):
    assert main(["evaluate", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("evaluate: error: `run_dir` must be a directory that bin/train made.")
    assert err.endswith("See evaluate --help.\n")


def test_files_are_measured_without_a_run(finished, capsys):
    run = finished.directory
    models = [run / model.model for model in finished.results.models]
    models.append(run / "export" / "student-int8.tflite")
    asked = ",".join(map(str, models))
    assert main(["evaluate", f"--models={asked}", "--dataset=digits"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Next            tfqkd-export --model={models[0]}"
    accuracies = [model.accuracy for model in finished.results.models]
    test, right = load("digits").test, []
    for path, accuracy in zip(models, [*accuracies, accuracies[-1]], strict=True):
        row, *_ = [line for line in lines if str(path) in line]
        assert row.split()[1] == f"{100 * accuracy:.2f}"
        right.append(measurement.run_file(path, test.images).argmax(axis=1) == test.labels)
        if len(right) > 1:
            # Of those that one alone has right, each is a draw of +1 or -1; of the others, 0.
            gained, lost = (right[-1] & ~right[0]).mean(), (right[0] & ~right[-1]).mean()
            error = np.sqrt((gained + lost - (gained - lost) ** 2) / len(test))
            assert row.endswith(f" {100 * (gained - lost):+.2f} ± {100 * error:.2f}")
    assert "minus the first" in "".join(lines)
    assert "teacher %" not in "".join(lines)


def test_files_of_another_number_of_classes_are_refused(tmp_path, capsys):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.save(tmp_path / "other.keras")
    assert main(["evaluate", f"--models={tmp_path}/other.keras", "--dataset=digits"]) == 1
    assert "other.keras with 64, 'digits' with 10 classes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["linear.keras", "linear.h5", "linear"])
def test_a_keras_model_is_measured_however_it_was_saved(tmp_path, name, capsys):
    kernel, bias = save_linear(tmp_path / name, seed=3)
    test = load("digits").test
    logits = test.images.reshape(len(test), -1) @ kernel.astype(np.float64) + bias
    accuracy = f"{100 * (logits.argmax(axis=1) == test.labels).mean():.2f}"
    assert main(["evaluate", f"--models={tmp_path / name}", "--dataset=digits"]) == 0
    row, *_ = [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert row.split()[1] == accuracy


def measured(wide):
    return [f"--models={wide.model}", *wide.data, "--output=json"]


@pytest.mark.parametrize(("others", "accuracy"), [([], 0), (["--centre_crop"], 1)])
def test_images_are_resized_and_cut_as_in_training(wide, capsys, others, accuracy):
    assert main(["evaluate", *measured(wide), *others]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["models"][0]["accuracy"] == accuracy


def test_whole_images_are_not_for_a_file_of_their_middle(wide, monkeypatch, capsys):
    def opened(path):
        return Opened((2, 2, 3), lambda images: np.eye(2)[: len(images)], LOGITS, centre_crop=True)

    monkeypatch.setattr(measurement, "open_any", opened)
    assert main(["evaluate", *measured(wide)]) == 1
    assert "with whole images. Add --centre_crop" in capsys.readouterr().err
    assert main(["evaluate", *measured(wide), "--centre_crop"]) == 0


def two_outputs(path):
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)
    heads = [keras.layers.Dense(10)(flat), keras.layers.Dense(10)(flat)]
    keras.Model(inputs, heads).save(path)


def foreign_graph(path):
    module = tf.Module()
    module.serve = tf.function(lambda x: x, input_signature=[tf.TensorSpec([None, 8, 8, 1])])
    tf.saved_model.save(module, str(path), signatures=module.serve)


MODELS = {
    "images of another size": (
        "other.h5",
        lambda path: save_linear(path, 0, image_shape=(9, 9, 1)),
        "must take the images of the data set. Received: other.h5 for (9, 9, 1), 'digits' with (8, 8, 1)",
    ),
    "two outputs": ("two.keras", two_outputs, "Received: two.keras with 1 inputs and 2 outputs"),
    "a graph of others": ("graph", foreign_graph, "Received: graph, which takes x. Save the Keras"),
    "a folder": (
        "folder",
        lambda path: path.mkdir(),
        "Received: folder, which does not load: it is a folder",
    ),
    "a picture": (
        "cat.png",
        lambda path: path.touch(),
        "Received: cat.png, which does not load: Keras has not",
    ),
}


@pytest.mark.parametrize(("name", "write", "message"), MODELS.values(), ids=MODELS)
def test_what_cannot_be_measured_is_one_message(
    tmp_path, monkeypatch, capsys, name, write, message
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    assert main(["evaluate", f"--models={name}", "--dataset=digits"]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models=no/such.tflite", "--dataset=digits"], "'no/such.tflite'"),
        (["--models=."], "Give --dataset"),
        (["--models=.", "--dataset=digits", "--run_dir=."], "no --run_dir"),
    ],
)
def test_files_need_a_data_set_of_their_own(arguments, message, capsys, no_tensorflow):
    assert main(["evaluate", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["runs/digits"], ["--run=x"]])
def test_a_wrong_command_line_is_refused(arguments, capsys, no_tensorflow):
    assert main(["evaluate", *arguments]) == 2
    assert capsys.readouterr().err.startswith("evaluate: error: ")


def test_a_directory_without_a_finished_run_is_one_message(tmp_path, capsys):
    assert main(["evaluate", f"--run_dir={tmp_path}"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("evaluate: error: A run directory must hold a finished run")
    assert len(err.splitlines()) == 1
