import json
import subprocess
import sys

import pytest

from tfqkd.compat import tf
from tfqkd.training.strategy import make_strategy

# Devices are made when TensorFlow starts: another number of them needs another process.
TWO_CPUS = """
import json
from tfqkd.compat import tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfqkd.training.strategy import make_strategy

def describe(name, batch_size):
    try:
        strategy = make_strategy(name, batch_size)
    except ValueError as error:
        return str(error)
    return [type(strategy).__name__, strategy.num_replicas_in_sync]

cases = [("mirrored", 64), ("mirrored", 63), ("one_device", 63), ("auto", 63)]
print(json.dumps([describe(*case) for case in cases]))
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("auto", "OneDeviceStrategy"),
        ("one_device", "OneDeviceStrategy"),
        ("mirrored", "MirroredStrategy"),
    ],
)
def test_one_processor_is_one_replica(name, kind):
    assert not tf.config.list_logical_devices("GPU"), "These tests are about processors."
    strategy = make_strategy(name, 63)
    assert (type(strategy).__name__, strategy.num_replicas_in_sync) == (kind, 1)


@pytest.mark.slow
def test_two_processors_share_a_batch_that_they_can_halve():
    child = subprocess.run(
        [sys.executable, "-c", TWO_CPUS], capture_output=True, text=True, check=True
    )
    mirrored, odd, one, auto = json.loads(child.stdout)
    assert mirrored == ["MirroredStrategy", 2]
    assert odd == (
        "`batch_size` must be a multiple of the number of devices. Received: batch_size=63 on "
        "2 devices. Use 64, or one_device."
    )
    # Processors are mirrored only where that is asked for.
    assert one == auto == ["OneDeviceStrategy", 1]
