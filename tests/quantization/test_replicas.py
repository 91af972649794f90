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
from tfqkd.quantization.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.quantization.calibration import calibrate_activations
from tfqkd.quantization.gradual import GradualQuantization, GradualQuantizer
from tfqkd.quantization.model import quantize_model, quantizer_variables
from tfqkd.quantization.published_quantizers import LsqQuantizer, TtqQuantizer
from tfqkd.quantization.quantizers import UniformQuantizer
from tfqkd.quantization.schemes import Scheme

data = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
targets = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)


def train(scheme, strategy, callbacks):
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = keras.Sequential([
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu", name="a"),
            keras.layers.Dense(8, activation="relu", name="b"),
            keras.layers.Dense(3, name="c"),
        ])
        quantized = quantize_model(model, scheme, layers="b|c")
        if scheme.activations:
            calibrate_activations(quantized, data)
        quantized.compile(keras.optimizers.SGD(0.02), "mse")
    before = [v.numpy() for v in quantizer_variables(quantized)]
    quantized.fit(data, targets, batch_size=8, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
    moved = [float(np.abs(v.numpy() - b).max()) for v, b in zip(quantizer_variables(quantized), before)]
    return quantized, moved


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
results = []
for scheme, callbacks in (
    (Scheme(LsqQuantizer(3), LsqActivationQuantizer(4)), []),
    (Scheme(TtqQuantizer(), PactQuantizer(4)), []),
    (
        Scheme(GradualQuantizer(UniformQuantizer(2, "tensor", "every_step"), (4,), True)),
        [GradualQuantization((0.5,))],
    ),
):
    one, moved = train(scheme, None, callbacks)
    two, _ = train(scheme, mirrored, callbacks)
    apart = 0.0
    for variable in two.variables:
        values = [np.float64(value) for value in mirrored.experimental_local_results(variable)]
        apart = max(apart, float(np.abs(values[0] - values[-1]).max()))
    difference = float(np.abs(one(data) - two(data)).max())
    results.append({"apart": apart, "difference": difference, "moved": moved})
print(json.dumps(results))
"""


@pytest.mark.slow
def test_state_is_equal_on_all_replicas_and_that_of_one_device():
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr[-3000:]
    lsq, ttq, gradual = json.loads(child.stdout.splitlines()[-1])
    for result in (lsq, ttq, gradual):
        assert result["apart"] == 0
        assert result["difference"] < 1e-4
    assert len(lsq["moved"]) == 4 and min(lsq["moved"]) > 1e-7
    assert len(ttq["moved"]) == 6 and min(ttq["moved"]) > 1e-7
