"""What every replica holds at every step: the coefficient, the quantizers, batch norm and the loss scale.

Each strategy needs a process of its own: the devices are made when TensorFlow starts.
"""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from tfqkd.recipe.recipe import Recipe

from .test_workers import ROOT, start_workers

STEPS, EPOCHS = 3, 2
RECIPE = {
    "dataset": "digits",
    "data.train_examples": 220,
    "data.validation_split": 0.05,
    "student": "cnn2",
    "teacher": "cnn3",
    "training.batch_size": 64,
    "teacher.training.epochs": 1,
    "student.training.epochs": 1,
    "quantized.training.epochs": EPOCHS,
    "training.learning_rate": 0.05,
    "quantized.training.learning_rate": 1.0,
    "schedule": "cosine",
    "distil.schedule_on": "step",
    "data.crop_padding": 1,
    "data.flip": False,
    "formats": (),
    "run.synchronized_batch_norm": True,
    "run.deterministic": True,
}
QUANTIZERS = {
    "steps anew in every step": {
        "quantize.step_update": "every_step",
        "quantize.granularity": "channel",
    },
    "learned steps of weights and activations": {"quantizer": "lsq", "quantize.activation_bits": 4},
}

RECORD = """
import json, sys
import numpy as np
from tfqkd.compat import keras, tf

recipe, directory, strategy = sys.argv[1:]
if strategy == "mirrored":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfqkd.fronts.tfmot.model import quantized_activations, quantized_kernels
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.run import run


class Record(keras.callbacks.Callback):
    steps = []

    def on_train_batch_end(self, batch, logs=None):
        local = self.model.distribute_strategy.experimental_local_results
        student = self.model.student
        state = [v for kernel in quantized_kernels(student) for v in kernel.state.values()]
        state += [activation.learned for activation in quantized_activations(student)]
        norms = [v for v in student.non_trainable_variables if "moving_" in v.name]

        def by_replica(variable):
            return [np.asarray(each.numpy(), float).ravel().tolist() for each in local(variable)]

        self.steps.append({
            "coefficient": by_replica(self.model.coefficient),
            "quantizers": [by_replica(variable) for variable in state],
            "norms": [np.asarray(v.numpy(), float).ravel().tolist() for v in norms],
            "logs": {name: float(value) for name, value in logs.items()},
        })


recipe = Recipe.from_json(recipe).changed({"run.strategy": strategy})
run(recipe, directory, callbacks=[Record()])
print("\\n" + json.dumps(Record.steps))
"""


def record(tmp_path, recipe, strategy):
    """What each process recorded, step by step."""
    arguments = ["-c", RECORD, recipe, str(tmp_path / strategy), strategy]
    if strategy == "multi_worker":
        children = start_workers(arguments)
    else:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        children = [
            subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        ]
    outs = [child.communicate(timeout=600)[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children), outs[0][-3000:]
    return [json.loads(out.splitlines()[-1]) for out in outs]


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=QUANTIZERS)
def test_every_replica_holds_the_same_at_every_step_and_what_one_device_holds(tmp_path, quantizer):
    recipe = Recipe({**RECIPE, **quantizer}).to_json()
    (one,) = record(tmp_path, recipe, "one_device")
    count = STEPS * EPOCHS
    expected = [(1 + math.cos(math.pi * step / (count - 1))) / 2 for step in range(count)]
    np.testing.assert_allclose([step["coefficient"][0][0] for step in one], expected, atol=1e-6)
    # What is compared moves.
    first, last = (np.concatenate([v[0] for v in one[at]["quantizers"]]) for at in (0, -1))
    assert np.abs(first - last).max() > 1e-4
    for strategy in ("mirrored", "multi_worker"):
        processes = record(tmp_path, recipe, strategy)
        assert len(processes) == (2 if strategy == "multi_worker" else 1)
        assert {len(steps) for steps in processes} == {count}
        for step, alone in enumerate(one):
            held = [process[step] for process in processes]
            coefficients = [value for each in held for value in each["coefficient"]]
            assert len(coefficients) == 2
            assert coefficients == [alone["coefficient"][0]] * 2, (strategy, step)
            for number, single in enumerate(alone["quantizers"]):
                replicas = [value for each in held for value in each["quantizers"][number]]
                assert len(replicas) == 2
                assert replicas[0] == replicas[1], (strategy, step, number)
                np.testing.assert_allclose(replicas[0], single[0], rtol=1e-4, atol=1e-5)
            for each in held:
                for value, single in zip(each["norms"], alone["norms"], strict=True):
                    np.testing.assert_allclose(value, single, rtol=1e-4, atol=1e-5)
                # The averages since the beginning of the epoch.
                assert each["logs"] == pytest.approx(alone["logs"], rel=1e-4, abs=1e-5)


SCALE = """
import json
import numpy as np
from tfqkd.compat import keras, tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.divergence import Divergence

generator = np.random.default_rng(0)
inputs = generator.normal(size=(12, 8, 4)).astype(np.float32)
# In one replica's half of the batch alone: its gradient overflows once it is scaled, nothing before.
inputs[6, 6] *= 1000
labels = np.eye(3, dtype=np.float32)[generator.integers(0, 3, (12, 8))]


class Record(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        local = self.model.distribute_strategy.experimental_local_results
        state = self.model.optimizer._loss_scale
        pairs = zip(local(state._current_loss_scale), local(state._counter))
        self.steps.append([[float(scale.numpy()), int(count.numpy())] for scale, count in pairs])


def train(strategy, inputs=inputs):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        student = keras.Sequential([
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dense(3, dtype="float32", name="logits"),
        ])
        teacher = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="float32")])
        distiller = Distiller(student=student, teacher=teacher, coefficient=0.5)
        optimizer = keras.mixed_precision.LossScaleOptimizer(
            keras.optimizers.SGD(0.01, momentum=0.9), initial_scale=2.0**15, dynamic_growth_steps=3
        )
        distiller.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
        divergence = Divergence("student", distiller, student, 12)
    data = tf.data.Dataset.from_tensor_slices((inputs, labels))
    seen = Record()
    distiller.fit(data, verbose=0, callbacks=[seen])
    divergence.require_none()
    weights = [v.numpy().tolist() for v in student.trainable_variables]
    return {"steps": seen.steps, "weights": weights, "made": int(optimizer.iterations.numpy())}


keras.mixed_precision.set_global_policy("mixed_float16")
strategies = [
    tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
]
trained = [train(strategy) for strategy in strategies]
inputs[8, 6] = np.nan
for strategy, result in zip(strategies, trained):
    try:
        train(strategy, inputs)
    except ValueError as error:
        result["said"] = str(error)
print(json.dumps(trained))
"""


@pytest.mark.slow
def test_the_loss_scale_and_the_divergence_of_all_replicas_are_those_of_one_device():
    child = subprocess.run(
        [sys.executable, "-c", SCALE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    one, two = json.loads(child.stdout.splitlines()[-1])
    scales = [step[0][0] for step in one["steps"]]
    # It grows after three good steps, and falls where one replica alone overflows.
    assert scales[2] == 2 * scales[1]
    assert scales[6] < scales[5]
    for alone, both in zip(one["steps"], two["steps"], strict=True):
        assert both == [alone[0], alone[0]]
    assert one["made"] == two["made"] == 12
    # What one replica alone meets is noted at its step, whatever came after it.
    assert one["said"] == two["said"]
    assert "Received: loss nan, hard_loss nan, soft_loss nan in step 9 of epoch 1" in one["said"]
    for first, second in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(first, second, atol=2e-3)
