"""Masks and clusters on two replicas: equal there, and what one device would have.

For methods with terms see `test_every_method.py`.

In a process of its own: several strategies in one can abort it.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, json
from tfqkd.compat import keras, tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import dataclasses
import numpy as np
from methods.training_of import FITTING, Training
from tfqkd.core.schemes import UniformScheme
from tfqkd.methods.clustering import Clustering
from tfqkd.methods.pruning import Pruning

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
kinds = {
    "zeros": ((Pruning(sparsity=0.6), Clustering(clusters=6)), UniformScheme(8)),
}
# One set of statistics, so that two replicas train what one does.
fitting = dataclasses.replace(FITTING, epochs=2, synchronized_batch_norm=True)
found = {}
for name, (methods, scheme) in kinds.items():
    weights = []
    for strategy in (None, mirrored):
        with strategy.scope() if strategy else contextlib.nullcontext():
            training = Training(methods, scheme=scheme, fitting=fitting)
            training.run()
        weights.append(training.weights())
    apart = 0.0
    for variable in training.student.variables:
        values = [np.float64(each) for each in mirrored.experimental_local_results(variable)]
        apart = max(apart, float(np.abs(values[0] - values[-1]).max()))
    pairs = zip(*weights, strict=True)
    found[name] = [apart, max(float(np.abs(one - two).max()) for one, two in pairs)]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_replicas_train_what_one_device_does():
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        cwd="tests",
    )
    assert child.returncode == 0, child.stderr[-3000:]
    found = json.loads(child.stdout.splitlines()[-1])
    assert set(found) == {"zeros"}
    for name, (apart, difference) in found.items():
        assert apart == 0, name
        assert difference < 1e-3, name
