"""Two processes, or two devices, train what one trains, with batch norm over the global batch."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from tfqkd.training.recipe import Recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
# 130 training images make two steps of 64; 143 test and 29 validation images no even share.
RECIPE = {
    "dataset": "digits",
    "train_examples": 200,
    "validation_split": 0.05,
    "student": "cnn2",
    "teacher": "cnn3",
    "batch_size": 64,
    "teacher_epochs": 1,
    "student_epochs": 1,
    "quantized_epochs": 2,
    "learning_rate": 0.05,
    "schedule": "cosine",
    "schedule_on": "step",
    "step_update": "every_step",
    "crop_padding": 1,
    "flip": False,
    "formats": (),
    "synchronized_batch_norm": True,
    "deterministic": True,
}

RUN = """
import json, os, sys
from tfqkd.compat import tf

if sys.argv[3] == "mirrored":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import dataclasses
from tfqkd.training.recipe import Recipe
from tfqkd.training.run import run

run(dataclasses.replace(Recipe.from_json(sys.argv[1]), strategy=sys.argv[3]), sys.argv[2])
"""

COMPARE = """
import json, pathlib, sys
import numpy as np
from tfqkd.training.history import read_history
from tfqkd.training.stages import load_model

found = {}
one, others = pathlib.Path(sys.argv[1]), sys.argv[2:]
for other in map(pathlib.Path, others):
    pairs = zip(sorted(one.glob("products/*/model.keras")), sorted(other.glob("products/*/model.keras")))
    difference, histories = 0.0, []
    for first, second in pairs:
        assert first.parent.name == second.parent.name
        weights = zip(load_model(first).get_weights(), load_model(second).get_weights())
        difference = max([difference, *(float(np.abs(a - b).max()) for a, b in weights)])
        histories.append([read_history(path.parent / "history.csv") for path in (first, second)])
    found[other.name] = {"difference": difference, "histories": histories}
print(json.dumps(found))
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(directory, recipe, arguments):
    ports = free_ports(2)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    children = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        environment = {**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
        environment["PYTHONPATH"] = str(ROOT)
        children.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return children


@pytest.mark.slow
def test_several_devices_and_several_processes_train_what_one_device_trains(tmp_path):
    recipe = Recipe(**RECIPE).to_json()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for strategy in ("one_device", "mirrored"):
        subprocess.run(
            [sys.executable, "-c", RUN, recipe, str(tmp_path / strategy), strategy],
            env=environment,
            check=True,
        )
    directory = tmp_path / "multi_worker"
    children = start_workers(directory, recipe, ["-c", RUN, recipe, str(directory), "multi_worker"])
    for child in children:
        out, _ = child.communicate(timeout=600)
        assert child.returncode == 0, out[-3000:]
    paths = [str(tmp_path / name) for name in ("one_device", "mirrored", "multi_worker")]
    child = subprocess.run(
        [sys.executable, "-c", COMPARE, *paths],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(child.stdout.splitlines()[-1])
    assert set(found) == {"mirrored", "multi_worker"}
    for name, result in found.items():
        assert result["difference"] < 1e-5, name
        assert len(result["histories"]) == 3
        for one, other in result["histories"]:
            assert len(one) == len(other) > 0
            for first, second in zip(one, other, strict=True):
                for key in set(first) - {"seconds"}:
                    assert second[key] == pytest.approx(first[key], rel=1e-4, abs=1e-5), (name, key)
    # The other worker wrote nothing beside what one device writes.
    assert {p.name for p in directory.iterdir()} == {
        p.name for p in (tmp_path / "one_device").iterdir()
    }


@pytest.mark.slow
def test_the_death_of_a_worker_is_said_within_a_minute_and_the_job_goes_on(tmp_path):
    directory = tmp_path / "run"
    flags = [
        "--dataset=digits", "--train_examples=640", "--student=cnn2", "--teacher=none", "--batch_size=32",
        "--student_epochs=12", "--quantized_epochs=1", "--formats=", "--checkpoint_every=5",
        "--strategy=multi_worker", f"--run_dir={directory}",
    ]  # fmt: skip
    command = ["-m", "tfqkd.cli.train", *flags]
    chief, other = start_workers(directory, None, command)
    end = time.monotonic() + 300
    while not list(directory.glob("products/*.partial/checkpoints/epoch*[0-9]")):
        assert time.monotonic() < end, "No checkpoint was written."
        assert chief.poll() is None, chief.stdout.read()[-3000:]
        time.sleep(0.1)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    killed = time.monotonic()
    out, _ = chief.communicate(timeout=120)
    assert time.monotonic() - killed < 60
    assert chief.returncode == 1, out[-3000:]
    assert "All workers must live and reach each other." in out
    assert "Traceback" not in out
    children = start_workers(directory, None, command)
    outs = [child.communicate(timeout=600)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], outs
    assert "goes on after" in outs[0]
    (history,) = directory.glob("products/student-*/history.csv")
    epochs = [line.partition(",")[0] for line in history.read_text().splitlines()[1:]]
    assert epochs == [str(epoch) for epoch in range(1, 13)]
