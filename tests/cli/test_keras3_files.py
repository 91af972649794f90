"""The commands on models that Keras 3 has saved: the file tells which Keras it is of."""

import keras as keras3
import numpy as np
import pytest
from training.linear import save_linear

import tfqkd
from tfqkd.cli import evaluate, export, predict
from tfqkd.data import load
from tfqkd.fronts import files

layers = keras3.layers
pytestmark = pytest.mark.skipif(
    keras3.backend.backend() != "tensorflow", reason="Keras 3 runs on another backend here."
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a quantized model, and with what `bin/export` makes of it; and the logits of digits."""
    folder = tmp_path_factory.mktemp("saved")
    keras3.utils.set_random_seed(1)
    inputs = keras3.Input((8, 8, 1))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu", name="conv")(inputs))
    model = keras3.Model(inputs, layers.Dense(10, name="logits")(x), name="student")
    quantized = tfqkd.quantize_model(model, layers=".*")
    quantized.save(folder / "student.keras")
    asked = [f"--model={folder}", "--dataset=digits", "--nolatency"]
    assert export.main(["export", *asked, "--format=litert-int2,litert-int8-full"]) == 0
    images = load("digits").test.images.astype(np.float64)
    kernel, bias, head, last = (
        each.astype(np.float64) for each in tfqkd.strip_quantization(quantized).get_weights()
    )
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    hidden = np.maximum(np.einsum("nhwcij,ijck->nhwk", windows, kernel) + bias, 0)
    return folder, hidden.reshape(len(images), -1) @ head + last


def test_a_model_of_keras_3_becomes_files_in_the_folder_beside_it(saved):
    folder, logits = saved
    names = {"student-int2.tflite", "student-int8-full.tflite", "report.json"}
    assert {file.name for file in (folder / "export").iterdir()} == names
    run = tfqkd.export.load(folder / "export" / "student-int2.tflite")
    images = load("digits").test.images
    np.testing.assert_allclose(run(images), logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
    assert run.class_names == load("digits").class_names


def test_a_model_of_tf_keras_is_exported_by_the_same_flag(tmp_path):
    kernel, bias = save_linear(tmp_path / "linear.keras", seed=3)
    asked = [f"--model={tmp_path / 'linear.keras'}", f"--output_dir={tmp_path}"]
    assert export.main(["export", *asked, "--format=onnx-float32"]) == 0
    images = load("digits").test.images[:9]
    found = tfqkd.export.load(tmp_path / "student-float32.onnx")(images)
    np.testing.assert_allclose(found, images.reshape(9, -1) @ kernel + bias, rtol=1e-4, atol=1e-3)


def test_models_of_keras_3_are_measured_beside_exported_files(saved, capsys):
    folder, logits = saved
    asked = f"--models={folder},{folder / 'export'}"
    assert evaluate.main(["evaluate", asked, "--dataset=digits"]) == 0
    accuracy = f"{100 * (logits.argmax(axis=1) == load('digits').test.labels).mean():.2f}"
    out = capsys.readouterr().out
    for name in ("student.keras", "student-int2.tflite"):
        row, *_ = [line for line in out.splitlines() if name in line]
        assert row.split()[1] == accuracy


@pytest.mark.parametrize("name", ["", "student.keras"])
def test_predict_tells_which_keras_a_model_is_of_and_what_to_do(saved, name, capsys):
    folder, _ = saved
    alone = folder / "alone"
    alone.mkdir(exist_ok=True)
    (alone / "student.keras").write_bytes((folder / "student.keras").read_bytes())
    assert predict.main(["predict", f"--model={alone / name}", "--images=cat.png"]) == 2
    said = capsys.readouterr().err
    assert f"bin/export --model={alone / 'student.keras'}" in said
    if name:
        assert f"a Keras model that Keras {keras3.__version__} has saved" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=none.keras"], "`model` must name one Keras model"),
        (["--model={folder}"], "two.keras. Name a file."),
        (["--model={folder}/export"], "none in it"),
        (["--model={folder}/one.keras", "--run_dir=."], "Only one of --run_dir and --model"),
        (["--run_dir=.", "--dataset=digits"], "A run has a data set of its own"),
    ],
)
def test_a_mistake_is_said_first(tmp_path, arguments, message, capsys, no_tensorflow):
    (tmp_path / "export").mkdir()
    for name in ("one.keras", "two.keras"):
        (tmp_path / name).touch()
    filled = [text.format(folder=tmp_path) for text in arguments]
    assert export.main(["export", *filled]) == 2
    err = capsys.readouterr().err
    assert err.startswith("export: error: ") and message in err


def test_code_in_a_file_is_refused_in_one_line(tmp_path, capsys):
    inputs = keras3.Input((8, 8, 1))
    x = layers.Lambda(lambda x: 2 * x, output_shape=(8, 8, 1))(inputs)
    keras3.Model(inputs, layers.Dense(10)(layers.Flatten()(x))).save(tmp_path / "own.keras")
    for command, flag in ((export.main, "--model"), (evaluate.main, "--models")):
        assert command(["command", f"{flag}={tmp_path}/own.keras", "--dataset=digits"]) == 1
        err = capsys.readouterr().err
        assert "it holds a Lambda, which is code" in err and len(err.splitlines()) == 1


def test_a_backend_that_is_not_installed_is_told(saved, monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError("No module named 'jax'", name="jax")

    monkeypatch.setattr(files.importlib, "import_module", missing)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert export.main(["export", f"--model={saved[0]}"]) == 1
    err = capsys.readouterr().err
    assert f"saved by Keras {keras3.__version__}, and the backend jax" in err
    assert len(err.splitlines()) == 1
