import dataclasses

import numpy as np
import pytest
from tensorflow.python.framework import ops

from tfqkd.compat import keras, tf
from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.workers import Workers
from tfqkd.models import build
from tfqkd.progress import ProgressBar
from tfqkd.recipe.recipe import Recipe
from tfqkd.training import looks
from tfqkd.training.execution import execution_of
from tfqkd.training.fitting import fit
from tfqkd.training.presets import PAPER

STEPS = 40
RECIPE = Recipe(
    {
        "training.batch_size": 2,
        "quantized.training.epochs": 2,
        "data.crop_padding": 1,
        "distil.schedule_on": "step",
        "run.checkpoint_every": "1000",
    },
    student="cnn2",
    teacher="cnn3",
    schedule="cosine",
)


class Reads(keras.callbacks.Callback):
    """Counts the values that the host fetches from one step to the next."""

    def __init__(self):
        super().__init__()
        self._supports_tf_logs = True
        self.total, self.by_step, self._before = 0, [], 0

    def on_train_batch_begin(self, batch, logs=None):
        if batch:
            self.by_step.append(self.total - self._before)
        self._before = self.total


@pytest.fixture
def reads(monkeypatch):
    """Counts every value that leaves TensorFlow, whoever asks for it."""
    counting = Reads()
    fetch = ops.EagerTensor._numpy

    def counted(tensor):
        counting.total += 1
        return fetch(tensor)

    monkeypatch.setattr(ops.EagerTensor, "_numpy", counted)
    # However slow the machine is: it looks after the first step, and not again for a long time.
    monkeypatch.setattr(looks, "_SECONDS_BETWEEN", 1e6)
    return counting


def make_network():
    student = quantize_model(build("cnn2", (8, 8, 1), 3))
    return Distiller(student=student, teacher=build("cnn3", (8, 8, 1), 3))


def make_data():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2 * STEPS, 8, 8, 1), dtype=np.uint8)
    split = Split(images, generator.integers(0, 3, 2 * STEPS))
    return ImageData("random", ("a", "b", "c"), split, None, split)


@pytest.mark.parametrize("steps_per_execution", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_no_step_waits_for_the_host(tmp_path, reads, steps_per_execution):
    stage = PAPER(RECIPE)[-1]
    execution = dataclasses.replace(execution_of(RECIPE), steps_per_execution=steps_per_execution)
    fit(
        front,
        make_network(),
        tmp_path,
        stage=stage,
        execution=execution,
        data=make_data(),
        workers=Workers(),
        progress=ProgressBar,
        callbacks=[reads],
    )
    ours = reads.by_step
    assert len(ours) == 2 * (STEPS // steps_per_execution - 1)
    # Keras itself reads how many steps a call makes, which lies on the host.
    reads.by_step = []
    network = make_network()
    network.compile(
        "sgd",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )
    data = make_data().train
    batches = tf.data.Dataset.from_tensor_slices((data.images, np.eye(3)[data.labels])).batch(2)
    network.fit(batches, epochs=2, verbose=0, callbacks=[reads])
    looked = [ours[0]]
    assert looked[0] > reads.by_step[0]
    assert ours[1:] == reads.by_step[1:]
