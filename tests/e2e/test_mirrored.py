"""Training on two devices is training on one: the same batches, the same mean of the loss.

Batch norm takes the statistics of each device's own part of the batch, as it does everywhere in Keras: with
it, two devices are another training, as good as the first. Without it only the order of the sums differs.
"""

import json
import subprocess
import sys

import pytest

from tfqkd.recipe.recipe import Recipe

RUN_BOTH = """
import json, pathlib, sys
from tfqkd.compat import tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from tfqkd.data import load
from tfqkd.training.history import read_history
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.run import run
from tfqkd.fronts.tfmot import front

recipe = Recipe.from_json(sys.argv[1])
directory = pathlib.Path(sys.argv[2])
test = load("digits").test
logits, histories, results = [], [], []
for strategy in ("one_device", "mirrored"):
    path = directory / strategy
    results.append(run(recipe.changed({"run.strategy": strategy}), path))
    model = path / results[-1].models[-1].model
    logits.append(front.logits(front.load(model), test.images))
    histories.append(read_history(model.parent / "history.csv"))
start = front.logits(front.load(directory / "one_device" / results[0].models[1].model), test.images)
print(json.dumps({
    "difference": float(np.abs(logits[0] - logits[1]).max()),
    "learned": float(np.abs(logits[0] - start).max()),
    "histories": histories,
    "exported": [len(result.export) for result in results],
}))
"""


def save_without_batch_norm(path, filters):
    from tfqkd.compat import keras

    keras.utils.set_random_seed(filters)
    layers = [
        keras.layers.Conv2D(filters, 3, strides, activation="relu", name=f"conv{number}")
        for number, strides in enumerate((1, 2, 1))
    ]
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            *layers[:2],
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(16, activation="relu", name="dense"),
            keras.layers.Dense(10, name="logits"),
        ]
    ).save(path)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("teacher_views", [0, 2], ids=["live teacher", "kept logits"])
def test_two_devices_train_what_one_trains(tmp_path, teacher_views):
    recipe = Recipe(
        {
            "quantized.training.epochs": 2,
            "quantized.training.learning_rate": 0.1,
            "training.schedule": "constant",
            "distil.schedule_on": "step",
            "quantize.step_update": "every_step",
            "training.batch_size": 64,
            "data.crop_padding": 1,
            "data.flip": False,
            "data.validation_split": 0.1,
            "teacher.views": teacher_views,
        },
        dataset="digits",
        student=save_without_batch_norm(tmp_path / "student.keras", 8),
        teacher=save_without_batch_norm(tmp_path / "teacher.keras", 12),
        schedule="cosine",
        formats=("litert-int8",),
    )
    child = subprocess.run(
        [sys.executable, "-c", RUN_BOTH, recipe.to_json(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["learned"] > 0.1
    assert found["difference"] < 1e-3
    assert found["exported"] == [1, 1]
    for one, two in zip(*found["histories"], strict=True):
        for name in set(one) - {"seconds"}:
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=2e-3), name
