"""Soft losses, and methods without a term, on two replicas: equal there, and what one device would have.

For methods with terms see `test_every_method.py`.

In a process of its own: several strategies in one can abort it.
"""

import json
import subprocess
import sys

import pytest

from methods.test_every_other import LEARNS_ALONE, kinds

SCRIPT = """
import contextlib, json
from tfqkd.compat import keras, tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import dataclasses
import numpy as np
from methods.test_every_other import kinds, taught
from methods.training_of import FITTING

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
# One set of statistics, so that two replicas train what one does.
fitting = dataclasses.replace(FITTING, synchronized_batch_norm=True)
makers = kinds(fitting, soft_weight=1.0)
found = {}
for name, make in makers.items():
    weights = []
    for strategy in (None, mirrored):
        with strategy.scope() if strategy else contextlib.nullcontext():
            training = make()
            training.run()
        weights.append(training.weights())
    apart = 0.0
    for variable in training.student.variables:
        values = [np.float64(each) for each in mirrored.experimental_local_results(variable)]
        apart = max(apart, float(np.abs(values[0] - values[-1]).max()))
    pairs = zip(*weights, strict=True)
    found[name] = [apart, max(float(np.abs(one - two).max()) for one, two in pairs)]
refused = ""
with mirrored.scope():
    balanced = taught("kl", fitting, soft_weight="balanced:1")
    try:
        balanced.run()
    except ValueError as error:
        refused = str(error)
print(json.dumps([found, refused]))
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
    found, refused = json.loads(child.stdout.splitlines()[-1])
    assert set(found) == set(kinds())
    for name, (apart, difference) in found.items():
        assert apart == 0, name
        assert (difference < 1e-3) is (name not in LEARNS_ALONE), (name, difference)
    assert "balanced weights of soft_loss on 2 replicas with synchronized batch norm" in refused
