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
