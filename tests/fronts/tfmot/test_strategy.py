import json
import socket
import subprocess
import sys

import pytest

from tfqkd.compat import tf
from tfqkd.fronts.tfmot.strategy import make_strategy

# Devices are made when TensorFlow starts: another number of them needs another process.
TWO_CPUS = """
import json
from tfqkd.compat import tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfqkd.fronts.tfmot.strategy import make_strategy

def describe(*arguments):
    try:
        strategy = make_strategy(*arguments)
    except ValueError as error:
        return str(error)
    return [type(strategy).__name__, strategy.num_replicas_in_sync]

cases = [
    ("mirrored", 64), ("mirrored", 63), ("one_device", 63, True), ("auto", 63, True), ("mirrored", 64, True)
]
print(json.dumps([describe(*case) for case in cases]))
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("auto", "_DefaultDistributionStrategy"),
        ("one_device", "OneDeviceStrategy"),
        ("mirrored", "MirroredStrategy"),
    ],
)
def test_one_processor_is_one_replica(name, kind):
    assert not tf.config.list_logical_devices("GPU"), "These tests are about processors."
    strategy = make_strategy(name, 63)
    assert (type(strategy).__name__, strategy.num_replicas_in_sync) == (kind, 1)


def test_a_compiled_step_on_the_processors_of_several_workers_is_refused(monkeypatch):
    cluster = {"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(
        ValueError, match=r"needs GPUs.*jit_compile=True with strategy=multi_worker on CPUs"
    ):
        make_strategy("multi_worker", 64, jit_compile=True)


@pytest.mark.parametrize("name", ["auto", "one_device", "mirrored"])
def test_a_compiled_step_on_one_processor_passes(name):
    assert make_strategy(name, 64, jit_compile=True).num_replicas_in_sync == 1


@pytest.mark.slow
def test_two_processors_share_a_batch_that_they_can_halve():
    child = subprocess.run(
        [sys.executable, "-c", TWO_CPUS], capture_output=True, text=True, check=True
    )
    mirrored, odd, one, auto, compiled = json.loads(child.stdout)
    assert mirrored == ["MirroredStrategy", 2]
    assert odd == (
        "`batch_size` must be a multiple of the number of devices. Received: batch_size=63 on "
        "2 devices. Use 64, or one_device."
    )
    assert compiled.startswith("`jit_compile` on several devices needs GPUs. Received: ")
    # Processors are mirrored only where that is asked for.
    assert one == ["OneDeviceStrategy", 1]
    assert auto == ["_DefaultDistributionStrategy", 1]


# TensorFlow takes SIGTERM for itself when it joins a cluster.
STOPPED_WORKER = """
import json, os, signal, sys
cluster = {"worker": ["127.0.0.1:" + sys.argv[1]]}
os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
from tfqkd.fronts import choose
from tfqkd.process.interruption import Interrupted, orderly
from tfqkd.training.execution import strategy_of
from tfqkd.recipe.recipe import Recipe

with orderly():
    strategy_of(Recipe({"run.strategy": "multi_worker", "training.batch_size": 64}), choose())
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        print("goes on")
    except Interrupted as stop:
        print(stop)
"""


def test_a_worker_of_a_cluster_still_hears_that_it_should_stop():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.run(
        [sys.executable, "-c", STOPPED_WORKER, str(port)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.splitlines()[-1] == "Stopped by SIGTERM."
