"""Whole runs of the front: stages, methods, and going on after an interruption."""

import dataclasses

import keras
import numpy as np
import pytest
from scipy.special import logsumexp

from tfqkd import fronts
from tfqkd.core.schedulers import CoefficientScheduler
from tfqkd.core.schedules import Linear
from tfqkd.core.schemes import TernaryScheme
from tfqkd.core.views import NUMPY, draw_numbers
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.data.epochs import Epochs
from tfqkd.data.images import ImageData, Split
from tfqkd.data.padded import show
from tfqkd.fronts.keras3.fitting import scans
from tfqkd.fronts.settings import Distillation, Fitting, Quantization
from tfqkd.fronts.trainer import Position, Watcher
from tfqkd.recipe.recipe import Recipe
from tfqkd.training import run as running
from tfqkd.training.history import read_history

pytestmark = pytest.mark.slow

SETTINGS = {
    "run.keras": 3,
    "data.crop_padding": 1,
    "student": "cnn2",
    "teacher": "cnn4",
    "teacher.training.epochs": 1,
    "student.training.epochs": 2,
    "quantized.training.epochs": 3,
    "training.batch_size": 16,
    "quantized.training.learning_rate": 0.05,
    "formats": (),
    "run.deterministic": keras.backend.backend() == "jax",
}


@pytest.fixture(scope="module")
def data():
    """Two classes of bright and dark squares."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 90, (96, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(96) % 2
    images[labels == 1, 2:6, 2:6] += 120
    train, test = Split(images[:64], labels[:64]), Split(images[64:], labels[64:])
    return ImageData("squares", ("dark", "bright"), train, test, test)


def trained(directory, data, **changes):
    callbacks = changes.pop("callbacks", ())
    recipe = Recipe({**SETTINGS, **changes})
    results = running.run(recipe, directory, data=data, callbacks=callbacks)
    return results, keras.models.load_model(directory / results.student.model)


class Stop(Watcher):
    def on_epoch_begin(self, epoch):
        if epoch == 2:
            raise InterruptedError


class StopInside(Watcher):
    """Stops in an epoch, just behind a step that was kept and one that was not."""

    def __init__(self, epoch):
        self._at, self._epoch = epoch, 0

    def on_epoch_begin(self, epoch):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs):
        if (self._epoch, batch) == (self._at, 2):
            raise InterruptedError


@pytest.mark.parametrize("stop", [Stop(), StopInside(1), StopInside(2)])
@pytest.mark.parametrize(
    "methods",
    [
        {},
        {"quantized.methods": ("ema",)},
        {"teacher.views": 2, "distil.schedule_on": "step"},
        {
            "distil.schedule_on": "step",
            "quantized.methods": ("gradual",),
            "quantized.gradual.bits": (8,),
        },
        {
            "distil.soft_weight": "balanced:1",
            "quantize.activation_bits": 4,
            "quantized.methods": ("speq", "rkd", "filters"),
            "quantized.rkd.weight": "balanced:0.5",
        },
    ],
)
def test_a_run_goes_on_to_the_bit_where_it_stopped(tmp_path, data, methods, stop):
    methods = {**methods, "run.checkpoint_every": "2"}
    results, whole = trained(tmp_path / "whole", data, **methods)
    with pytest.raises(InterruptedError):
        trained(tmp_path / "again", data, callbacks=[stop], **methods)
    again, model = trained(tmp_path / "again", data, **methods)
    assert again.student.accuracy == results.student.accuracy
    assert results.models[0].accuracy > 0.8
    histories = [
        read_history((tmp_path / place / results.student.model).parent / "history.csv")
        for place in ("whole", "again")
    ]
    for row, other in zip(*histories, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, abs=1e-6)
    same = np.array_equal if SETTINGS["run.deterministic"] else np.allclose
    for one, other in zip(whole.get_weights(), model.get_weights(), strict=True):
        assert same(one, other)
    inner = [layer for layer in whole.layers if layer.__class__.__name__ == "Conv2D"][1:]
    for layer in inner:
        kernel = np.asarray(layer.kernel)
        assert len(np.unique(np.abs(kernel))) <= 2


HELD = {
    "quantized.methods": ("pruning", "clustering"),
    "quantized.pruning.sparsity": 0.6,
    "quantized.clustering.clusters": 5,
}


@pytest.mark.parametrize("bits", [8, 32])
def test_zeros_and_clusters_hold_to_the_end_of_a_run_that_goes_on(tmp_path, data, bits):
    _, whole = trained(tmp_path / "whole", data, bits=bits, **HELD)
    with pytest.raises(InterruptedError):
        trained(tmp_path / "again", data, bits=bits, callbacks=[Stop()], **HELD)
    _, model = trained(tmp_path / "again", data, bits=bits, **HELD)
    same = np.array_equal if SETTINGS["run.deterministic"] else np.allclose
    for one, other in zip(whole.get_weights(), model.get_weights(), strict=True):
        assert same(one, other)
    for layer in [each for each in whole.layers if each.__class__.__name__ == "Conv2D"][1:]:
        kernel = np.asarray(layer.kernel)
        # Pruned weights, and those that the centroid at zero takes.
        assert (kernel == 0).sum() >= round(0.6 * kernel.size)
        assert 2 <= len(np.unique(kernel)) <= 5


def fitting(scan):
    return Fitting(
        title="a student",
        epochs=3,
        steps=4,
        batch_size=16,
        seed=5,
        augmentation=Augmentation(1, flip=True),
        fixed_views=0,
        learning_rate=0.05,
        learning_rate_schedule="cosine",
        learning_rate_factor=0.1,
        milestones=(),
        warmup_epochs=0.5,
        momentum=0.9,
        weight_decay=1e-3,
        label_smoothing=0.0,
        synchronized_batch_norm=False,
        jit_compile=False,
        steps_per_execution=1,
        scan=scan,
    )


class Noted(Watcher):
    def __init__(self):
        self.logs, self.last = [], []

    def on_train_batch_end(self, batch, logs):
        self.last.append(batch)

    def on_epoch_end(self, epoch, logs):
        self.logs.append({name: float(value) for name, value in logs.items()})


HOW = Distillation(coefficient=Linear(0.9, 0.0), coefficient_on="step", soft_loss="kl")


def scanned(data, scan, how=HOW, **changes):
    front = fronts.choose("keras3")
    front.start(1, "float32")
    sizes = {"mean": (100.0,), "std": (50.0,)}
    student = front.quantize(
        front.build("cnn2", (8, 8, 1), 2, **sizes),
        Quantization(scheme=TernaryScheme(), layers=None, gradual_shares=()),
    )
    teacher = front.build("cnn4", (8, 8, 1), 2, **sizes)
    network = front.taught(student, [teacher], False, how)
    noted = Noted()
    trainer = front.trainer(network, dataclasses.replace(fitting(scan), **changes), data)
    scheduler = CoefficientScheduler(how.coefficient, "step", 0)
    trainer.fit(Position(0, 0), (), [scheduler, noted])
    return student.get_weights(), noted


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends have no such call")
def test_an_epoch_in_one_call_is_its_steps(data, monkeypatch):
    # The table of λ grows, for which Keras makes the function of a step anew.
    monkeypatch.setattr("tfqkd.fronts.keras3.scheduled.CAPACITY", 4)
    (weights, noted), (others, again) = scanned(data, "off"), scanned(data, "on")
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-6)
    for logs, same in zip(noted.logs, again.logs, strict=True):
        assert same == pytest.approx(logs, abs=1e-5)
    assert again.last == [3, 3, 3]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends have no such call")
def test_trainings_that_differ_in_numbers_share_a_program(data, tmp_path):
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    settings = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    other = dataclasses.replace(HOW, coefficient=Linear(0.5, 0.1), temperature=3.0)
    numbers = {"seed": 9, "learning_rate": 0.01, "weight_decay": 0.002, "epochs": 2}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        (one, _), (two, _) = scanned(data, "on"), scanned(data, "on", other, **numbers)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    assert not np.array_equal(one[0], two[0])
    assert len(list(tmp_path.glob("jit__steps-*-cache"))) == 1


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends have no such call")
@pytest.mark.parametrize(
    ("limit", "room"), [(2 * 64 * 64, True), (2 * 64 * 64 - 1, False), (None, True)]
)
def test_images_without_room_on_an_accelerator_stream(data, monkeypatch, limit, room):
    import jax

    class Device:
        def memory_stats(self):
            return limit and {"bytes_limit": limit}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    monkeypatch.setattr("tfqkd.fronts.keras3.fitting.has_accelerator", lambda: True)
    epochs = Epochs(data.train, 16, 2, 5, Augmentation(1))
    assert scans("auto", True, epochs) is room
    assert scans("on", True, epochs)
    assert not scans("off", True, epochs)
    assert not scans("auto", False, epochs)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has it")
def test_an_epoch_in_one_call_is_refused_elsewhere(data):
    with pytest.raises(ValueError, match="`scan` must be auto or off"):
        scanned(data, "on")


def test_what_the_front_cannot_do_is_refused_before_training(tmp_path, data):
    with pytest.raises(ValueError, match=r"`run\.strategy` must be what this front does"):
        trained(tmp_path, data, **{"run.strategy": "multi_worker"})


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras does not distribute there")
def test_a_run_on_two_devices_is_that_of_one(tmp_path, data):
    synchronized = {"run.synchronized_batch_norm": True, "run.deterministic": False}
    results, one = trained(tmp_path / "one", data, **synchronized)
    mirrored = {**synchronized, "run.strategy": "mirrored"}
    again, two = trained(tmp_path / "two", data, **mirrored)
    assert again.student.accuracy == pytest.approx(results.student.accuracy, abs=0.04)
    for weight, other in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=0.02, atol=0.01)


@pytest.mark.parametrize("views", [0, 2])
def test_a_training_shows_the_views_that_it_is_told(data, views):
    front = fronts.choose("keras3")
    front.start(1, "float32")
    model = front.build("cnn2", (8, 8, 1), 2, mean=(100.0,), std=(50.0,))
    seen = []

    class Shown(Epochs):
        def batch(self, epoch, rows):
            images, labels = super().batch(epoch, rows)
            seen.append((epoch, rows, images))
            return images, labels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfqkd.fronts.keras3.fitting.Epochs", Shown)
        told = dataclasses.replace(fitting("off"), fixed_views=views, epochs=2)
        front.trainer(model, told, data).fit(Position(0, 0), (), [])
    for epoch, rows, images in seen:
        # With fixed ones, views do not depend on the training's seed.
        key = (FIXED_VIEWS_SEED, epoch % views) if views else (5, epoch)
        drawn = draw_numbers(*key, rows, 18, NUMPY)
        np.testing.assert_array_equal(images, show(data.train.images[rows], drawn, 1))
    assert {epoch for epoch, _, _ in seen} == {0, 1}


def weighted_loss(front, model, split, class_weights):
    """The loss of the one step of an epoch, and that of the model before it, by NumPy."""
    fits = dataclasses.replace(
        fitting("auto"),
        epochs=1,
        steps=1,
        batch_size=12,
        augmentation=Augmentation.NONE,
        class_weights=class_weights,
    )
    images = ImageData("noise", tuple("abcd"), split, None, split)
    before = front.logits(model, split.images).astype(np.float64)
    noted = Noted()
    front.trainer(model, fits, images).fit(Position(0, 0), (), [noted])
    said = -(before - logsumexp(before, axis=1, keepdims=True))[np.arange(12), split.labels]
    weights = split.balanced_weights(4)[split.labels] if class_weights == "balanced" else 1
    return noted.logs[0]["loss"], (weights * said).mean()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_classes_weigh_what_they_are_said_to(class_weights):
    generator = np.random.default_rng(0)
    labels = np.array([0] * 7 + [1] * 2 + [3] * 3)
    split = Split(generator.integers(0, 256, (12, 8, 8, 1), np.uint8), labels)
    front = fronts.choose("keras3")
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    found, expected = weighted_loss(front, model, split, class_weights)
    assert found == pytest.approx(expected, rel=1e-5)
