"""Two processes, or two devices, train what one trains, with batch norm over the global batch."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tfqkd.data import load
from tfqkd.recipe.recipe import Recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
# 200 training images make three steps of 64; of 60 validation images, one of two devices gets 32.
RECIPE = {
    "dataset": "digits",
    "data.train_examples": 200,
    "data.validation_split": 0.05,
    "student": "cnn2",
    "teacher": "cnn3",
    "training.batch_size": 64,
    "teacher.training.epochs": 1,
    "student.training.epochs": 1,
    "quantized.training.epochs": 2,
    "training.learning_rate": 0.05,
    "schedule": "cosine",
    "distil.schedule_on": "step",
    "quantize.step_update": "every_step",
    "data.crop_padding": 1,
    "data.flip": False,
    "formats": ("litert-int8",),
    "run.synchronized_batch_norm": True,
    "run.deterministic": True,
}

RUN = """
import json, os, sys

if json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index"):
    root = os.path.realpath(sys.argv[2])

    def refuse(event, arguments):
        # Python tells of what it is about to do.
        writes = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir") or (
            event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        path = os.path.realpath(arguments[0]) if writes and not isinstance(arguments[0], int) else ""
        if path.startswith(root) and not (event == "os.mkdir" and os.path.isdir(path)):
            print("Another worker than the chief writes:", event, path, flush=True)
            os._exit(9)

    sys.addaudithook(refuse)
from tfqkd.compat import tf

if sys.argv[3] == "mirrored":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.run import run

recipe = Recipe.from_json(sys.argv[1]).changed({"run.strategy": sys.argv[3]})
run(recipe, sys.argv[2])
"""

COMPARE = """
import json, pathlib, sys
import numpy as np
from tfqkd.training.history import read_history
from tfqkd.fronts.tfmot.saved_models import load_model

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


def start_workers(arguments):
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


@pytest.fixture
def stored_digits(tmp_path):
    """The digits as a file of arrays, which can be read when they are asked for."""
    digits, arrays = load("digits"), {}
    for role in ("train", "test"):
        split = getattr(digits, role)
        arrays |= {f"{role}_images": split.images, f"{role}_labels": split.labels}
    np.savez(tmp_path / "digits.npz", **arrays)
    return f"arrays:{tmp_path / 'digits.npz'}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"teacher.views": 0},
        {"teacher.views": 2},
        {"data.stream": "on", "data.operations": 1, "data.mixup": 0.2},
    ],
    ids=["live teacher", "kept logits", "streamed"],
)
def test_several_devices_and_several_processes_train_what_one_device_trains(
    tmp_path, stored_digits, settings
):
    dataset = stored_digits if "data.stream" in settings else "digits"
    recipe = Recipe({**RECIPE, **settings, "dataset": dataset}).to_json()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for strategy in ("one_device", "mirrored"):
        subprocess.run(
            [sys.executable, "-c", RUN, recipe, str(tmp_path / strategy), strategy],
            env=environment,
            check=True,
        )
    directory = tmp_path / "multi_worker"
    children = start_workers(["-c", RUN, recipe, str(directory), "multi_worker"])
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
    # Every stage went through.
    assert {p.name for p in directory.iterdir()} == {
        p.name for p in (tmp_path / "one_device").iterdir()
    }
    assert (directory / "export" / "student-int8.tflite").exists()


def wait_for_another_checkpoint(directory, child):
    def found():
        return {path.name for path in directory.glob("products/*.partial/checkpoints/epoch*[0-9]")}

    before, end = found(), time.monotonic() + 300
    while not found() - before:
        assert time.monotonic() < end, "No checkpoint was written."
        assert child.poll() is None, child.stdout.read()[-3000:]
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1], ids=["the chief", "another worker"])
def test_the_death_of_a_worker_is_said_within_a_minute_and_the_job_goes_on(tmp_path, killed):
    directory = tmp_path / "run"
    flags = [
        "--dataset=digits", "--data.train_examples=640", "--student=cnn2", "--teacher=none",
        "--training.batch_size=32",
        "--student.training.epochs=12", "--quantized.training.epochs=1", "--formats=",
        "--run.checkpoint_every=5",
        f"--run_dir={directory}",
    ]  # fmt: skip
    children = start_workers(["-m", "tfqkd.cli.train", "--run.strategy=multi_worker", *flags])
    dead, living = children[killed], children[1 - killed]
    wait_for_another_checkpoint(directory, living)
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    began = time.monotonic()
    out, _ = living.communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert living.returncode == 1, out[-3000:]
    assert "All workers must keep running and reach each other." in out
    assert "Traceback" not in out

    # The launcher starts both again; asked to stop, it asks them to.
    environment = {
        **os.environ,
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(free_ports(1)[0]),
    }
    launcher = subprocess.Popen(
        [ROOT / "examples" / "two_local_workers.sh", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for_another_checkpoint(directory, launcher)
    # As Ctrl-C does: to the script and all that it has started in its group.
    os.killpg(launcher.pid, signal.SIGINT)
    out, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 130, out[-3000:]
    assert "goes on after" in out
    assert out.count("Stopped by SIGINT after epoch") == 2
    assert out.count("\nTo go on: ") == 3
    done = subprocess.run(
        [ROOT / "examples" / "two_local_workers.sh", *flags],
        env={**environment, "PORT": str(free_ports(1)[0])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "goes on after" in done.stdout
    (history,) = directory.glob("products/student-*/history.csv")
    epochs = [line.partition(",")[0] for line in history.read_text().splitlines()[1:]]
    assert epochs == [str(epoch) for epoch in range(1, 13)]
