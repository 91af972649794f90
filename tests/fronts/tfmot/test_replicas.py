"""State under MirroredStrategy: equal on all replicas, and what one device would have.

In a process of its own: several strategies in one can abort it.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
from tfqkd.compat import keras, tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import contextlib
import numpy as np
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.fronts.tfmot.batch_norm import reestimate_batch_norm
from tfqkd.fronts.tfmot.calibration import calibrate_activations
from tfqkd.fronts.tfmot.gradual import GradualQuantization
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.fronts.tfmot.model import quantize_model, quantizer_variables
from tfqkd.core.quantizers import DorefaQuantizer, LsqQuantizer, TtqQuantizer, TwnQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import Scheme

data = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
targets = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)


def train(scheme, strategy, callbacks, optimizer):
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = keras.Sequential([
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu", name="a"),
            keras.layers.Dense(8, activation="relu", activity_regularizer="l2", name="b"),
            keras.layers.Dense(3, name="c"),
        ])
        quantized = quantize_model(model, scheme, layers="b|c")
        if scheme.activations:
            calibrate_activations(quantized, data)
        quantized.compile(keras.optimizers.SGD(0.02, **optimizer), "mse")
    before = [v.numpy() for v in quantizer_variables(quantized)]
    quantized.fit(data, targets, batch_size=8, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
    moved = [float(np.abs(v.numpy() - b).max()) for v, b in zip(quantizer_variables(quantized), before)]
    return quantized, moved


def apart(model):
    found = 0.0
    for variable in model.variables:
        values = [np.float64(value) for value in mirrored.experimental_local_results(variable)]
        found = max(found, float(np.abs(values[0] - values[-1]).max()))
    return found


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
results = {}
for name, scheme, callbacks, optimizer in (
    ("lsq", Scheme(LsqQuantizer(3), LsqActivationQuantizer(4)), [], {}),
    ("ttq", Scheme(TtqQuantizer(), PactQuantizer(4)), [], {}),
    # With quantized activations its sums are often zero but for rounding, which a ReLU then decides on.
    ("twn", Scheme(TwnQuantizer()), [], {}),
    ("noise", Scheme(DorefaQuantizer(3, gradient_bits=6)), [], {}),
    (
        "gradual",
        Scheme(GradualQuantizer(UniformQuantizer(2, "tensor", "every_step"), (4,), True)),
        [GradualQuantization((0.5,))],
        {"momentum": 0.9},
    ),
    ("average", Scheme(LsqQuantizer(3)), [], {"use_ema": True, "ema_momentum": 0.8}),
):
    one, moved = train(scheme, None, callbacks, optimizer)
    two, _ = train(scheme, mirrored, callbacks, optimizer)
    difference = float(np.abs(one(data) - two(data)).max())
    results[name] = {"apart": apart(two), "difference": difference, "moved": moved}


def normalized():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((6,)),
        keras.layers.Dense(8, name="a"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(3, name="b"),
    ])
    return quantize_model(model, Scheme(UniformQuantizer(3)), layers="a")


with mirrored.scope():
    two = normalized()
    two.compile(keras.optimizers.SGD(0.02), "mse")
two.fit(data, targets, batch_size=8, epochs=2, verbose=0)
one = normalized()
one.set_weights(two.get_weights())
reestimate_batch_norm(one, data)
with mirrored.scope():
    reestimate_batch_norm(two, data)
variances = [model.get_layer("norm").moving_variance.numpy() for model in (one, two)]
difference = float(np.abs(variances[0] - variances[1]).max())
results["norm"] = {"apart": apart(two), "difference": difference, "moved": []}
print(json.dumps(results))
"""


@pytest.mark.slow
def test_state_is_equal_on_all_replicas_and_that_of_one_device():
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr[-3000:]
    results = json.loads(child.stdout.splitlines()[-1])
    assert len(results) == 7
    for name, result in results.items():
        assert result["apart"] == 0, name
        # Each replica rounds its part of a batch with noise of its own.
        assert result["difference"] < 1e-4 or name == "noise", name
    for name, count in (("lsq", 4), ("ttq", 6)):
        moved = results[name]["moved"]
        assert len(moved) == count and min(moved) > 1e-7
