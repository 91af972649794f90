"""`bin/train` on JAX, as a process of its own: TensorFlow stays out, a signal keeps the step."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.fronts.keras3.backends import ROOT

pytestmark = pytest.mark.slow
FLAGS = (
    "--run.keras=3",
    "--dataset=digits",
    "--data.train_examples=320",
    "--data.crop_padding=1",
    "--data.flip=false",
    "--student=cnn2",
    "--teacher=none",
    "--training.batch_size=32",
    "--student.training.epochs=2",
    "--quantized.training.epochs=2",
    "--formats=",
    "--run.deterministic",
    "--run.checkpoint_every=3",
)
WATCHED = """
import sys
from tfqkd.cli.train import main
status = main(["bin/train", *sys.argv[1:]])
print("IMPORTED", sorted({"tensorflow", "tf_keras", "tensorflow_model_optimization"} & set(sys.modules)))
sys.exit(status)
"""


def begin(directory, *flags):
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", WATCHED, *FLAGS, f"--run_dir={directory}", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_no_tensorflow_is_imported_and_a_profile_is_written(tmp_path):
    child = begin(tmp_path / "run", "--run.profile=2,3")
    said, _ = child.communicate(timeout=500)
    assert child.returncode == 0, said
    assert "IMPORTED []" in said
    for role in ("student", "quantized"):
        (product,) = (tmp_path / "run" / "products").glob(f"{role}-*[0-9a-f]")
        assert list(product.glob("tensorboard/train/events*"))
        assert list(product.glob("tensorboard/plugins/profile/*/*.xplane.pb"))


LOOPS = """
import keras, sys
layers = [keras.layers.Reshape((8, 8)), keras.layers.LSTM(3), keras.layers.Dense(10)]
keras.Sequential([keras.Input((8, 8, 1)), *layers]).save(sys.argv[1])
"""


def test_formats_are_tried_beside_the_training_and_one_that_fails_ends_it(tmp_path):
    student, run = tmp_path / "student.keras", tmp_path / "run"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", LOOPS, student], env=environment, check=True)
    flags = (f"--student={student}", "--quantize.bits=32", "--quantized.training.epochs=500")
    # LiteRT has no operation for it.
    child = begin(run, *flags, "--formats=saved_model,litert-int8")
    said, _ = child.communicate(timeout=500)
    assert child.returncode == 1, said
    *_, error, _ = said.splitlines()
    assert re.search(
        r"^train: error: .*'lstm', a LSTM .* Nothing is lost: .*litert-int8 out", error
    )
    assert not list(run.glob("*")) or not list(run.glob("[!.p]*")), list(run.rglob("*"))
    assert not [path for path in (run / "products").iterdir() if path.suffix != ".lock"]


def test_a_signal_keeps_the_step_and_the_run_goes_on_to_the_bit(tmp_path):
    whole = begin(tmp_path / "whole")
    child = begin(tmp_path / "run", "--run.steps_per_execution=1", "--student.training.epochs=2")
    checkpoints = "products/student-*.partial/checkpoints/epoch*[0-9]"
    end = time.monotonic() + 400
    while not list((tmp_path / "run").glob(checkpoints)) and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=100)
    assert child.returncode == 143, said
    *_, stopped, again, _ = said.splitlines()
    assert re.search(r"after epoch \d+( and \d+ steps)? of the ", stopped)
    assert again.startswith("To go on: ")
    child = begin(tmp_path / "run")
    said, _ = child.communicate(timeout=500)
    assert (child.returncode, "goes on after epoch" in said) == (0, True), said
    whole.communicate(timeout=500)
    results = [
        json.loads((tmp_path / place / "results.json").read_text()) for place in ("whole", "run")
    ]
    assert results[0] == results[1]
