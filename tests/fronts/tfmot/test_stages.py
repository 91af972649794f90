import contextlib
import csv
import dataclasses
import os
import signal

import numpy as np
import pytest
from export.in_process import files_run_here
from training import linear
from training.staged import Staged

from tests.parameters import some
from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.steps import optimal_step
from tfqkd.data.images import ImageData, Split
from tfqkd.export.verification import ExportError
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.batch_norm import batch_norms
from tfqkd.fronts.tfmot.fitting import KerasTrainer, training_stream
from tfqkd.fronts.tfmot.layers import ActivationQuantization
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.model import quantized_kernels as wrapped_kernels
from tfqkd.fronts.tfmot.saved_models import load_model
from tfqkd.fronts.tfmot.strategy import RunStrategy
from tfqkd.fronts.trainer import Position
from tfqkd.models import build
from tfqkd.process.interruption import Interrupted, orderly
from tfqkd.progress import ProgressBar
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.products import Products
from tfqkd.training.quantization import scheme_of

CLASSES = 4
ONE_DEVICE = RunStrategy(tf.distribute.OneDeviceStrategy("CPU:0"))
RECIPE = Recipe(
    {
        "teacher.training.epochs": 1,
        "student.training.epochs": 3,
        "quantized.training.epochs": 3,
        "training.batch_size": 16,
        "data.crop_padding": 1,
        "training.warmup_epochs": 1.0,
        "training.milestones": (0.4,),
        "quantized.training.learning_rate": 0.05,
    },
    dataset="stripes",
    student="cnn2",
    teacher="cnn3",
    # A check tries every format for real: tests of that name theirs.
    formats=(),
)


def make_split(count, seed):
    """Noisy images with a bright stripe, whose row is the class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    images = generator.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 100
    return Split(images, labels)


DATA = ImageData("stripes", tuple("abcd"), make_split(70, 0), make_split(30, 1), make_split(40, 2))

UNWATCHED = dataclasses.replace(DATA, validation=None)


def make_stages(recipe, directory, data=DATA):
    return Staged(recipe, data, Products(directory), front, ONE_DEVICE)


def save_linear(path, seed, classes=CLASSES, **options):
    return linear.save_linear(path, seed, classes, **options)


def read_rows(file):
    """The history without the seconds, which are never the same."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def weights_of(path):
    return load_model(path).get_weights()


def assert_same_weights(first, second):
    for one, other in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_array_equal(one, other)


@contextlib.contextmanager
def interrupted(epoch, batch):
    """Interrupts what is trained inside after a batch of an epoch, both counted from 0."""
    original = ProgressBar.on_train_batch_end

    def on_train_batch_end(self, index, logs):
        original(self, index, logs)
        if (self._epoch, index) == (epoch, batch):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ProgressBar, "on_train_batch_end", on_train_batch_end)
        yield


@pytest.mark.slow
def test_a_float_stage_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, capsys):
    at_once = make_stages(RECIPE, tmp_path / "at_once", UNWATCHED).student()
    stages = make_stages(RECIPE, tmp_path / "interrupted", UNWATCHED)
    # After the last batch of the second epoch, before it is kept: the epoch runs again.
    with interrupted(epoch=1, batch=3):
        stages.student()
    capsys.readouterr()
    in_parts = stages.student()
    assert "float student (cnn2), seed 0: goes on after epoch 1." in capsys.readouterr().out
    assert in_parts.parent.name == at_once.parent.name
    assert_same_weights(in_parts, at_once)
    rows = read_rows(in_parts.parent / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows == read_rows(at_once.parent / "history.csv")


@pytest.mark.parametrize(
    "teacher_views",
    [pytest.param(0, id="live teacher", marks=pytest.mark.slow), pytest.param(2, id="kept logits")],
)
def test_a_quantized_stage_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, teacher_views):
    save_linear(tmp_path / "student.keras", seed=0, hidden=2)
    save_linear(tmp_path / "teacher.keras", seed=1)
    recipe = RECIPE.changed(
        {
            "quantize.step_update": "every_step",
            "quantize.granularity": "channel",
            "distil.schedule_on": "step",
            "training.schedule": "cosine",
            "quantized.training.learning_rate": 1e-3,
            "teacher.views": teacher_views,
        },
        student=str(tmp_path / "student.keras"),
        teacher=str(tmp_path / "teacher.keras"),
        schedule="cosine",
    )
    at_once = make_stages(recipe, tmp_path / "at_once", UNWATCHED).quantized()
    stages = make_stages(recipe, tmp_path / "interrupted", UNWATCHED)
    with interrupted(epoch=1, batch=1):
        stages.quantized()
    in_parts = stages.quantized()
    assert_same_weights(in_parts / "model.keras", at_once / "model.keras")
    rows = read_rows(in_parts / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows == read_rows(at_once / "history.csv")
    # Four steps an epoch, twelve in all: λ is that of each epoch's last step.
    expected = [(1 + np.cos(np.pi * step / 11)) / 2 for step in (3, 7, 11)]
    np.testing.assert_allclose([float(row["coefficient"]) for row in rows], expected, atol=1e-6)


def test_a_profile_of_the_chosen_steps_is_written(tmp_path):
    recipe = RECIPE.changed({"student.training.epochs": 1, "run.profile": "2,3"})
    student = make_stages(recipe, tmp_path, UNWATCHED).student()
    (profile,) = (student.parent / "tensorboard").rglob("*.xplane.pb")
    assert b"train_function" in profile.read_bytes()


def stop_after(steps, monkeypatch):
    """Sends this process SIGTERM in the step after so many, as a machine that is taken away does."""
    original, done = ProgressBar.on_train_batch_end, []

    def on_train_batch_end(self, index, logs):
        original(self, index, logs)
        done.append(index)
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ProgressBar, "on_train_batch_end", on_train_batch_end)


def save_noisy(path):
    """Saves a student with random layers, whose state must come back too."""
    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GaussianNoise(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="relu", name="first"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(5, activation="relu", name="second"),
            keras.layers.Dense(CLASSES, name="logits"),
        ]
    ).save(path)


# Four steps an epoch, three epochs. Of those after 4 and 8 steps the epoch's end follows.
@pytest.mark.parametrize(
    ("precision", "stops"),
    [
        pytest.param("float32", (1, 7), marks=pytest.mark.slow),
        pytest.param("mixed_float16", (6, 5), marks=pytest.mark.slow),
    ],
)
def test_sigterm_at_any_step_costs_nothing(tmp_path, monkeypatch, capsys, precision, stops):
    save_noisy(tmp_path / "student.keras")
    save_linear(tmp_path / "teacher.keras", seed=1)
    recipe = RECIPE.changed(
        {
            "distil.schedule_on": "step",
            "training.schedule": "cosine",
            "run.mixed_precision": precision,
        },
        student=str(tmp_path / "student.keras"),
        teacher=str(tmp_path / "teacher.keras"),
        schedule="cosine",
    )
    at_once = make_stages(recipe, tmp_path / "at_once").quantized()
    stages = make_stages(recipe, tmp_path / "interrupted")
    done = 0
    for steps in stops:
        with pytest.MonkeyPatch.context() as patch, orderly():
            stop_after(steps, patch)
            with pytest.raises(Interrupted) as error:
                stages.quantized()
        done += steps
        where = Position(*divmod(done, 4))
        assert str(error.value).startswith(f"Stopped by SIGTERM after {where} of the ternary")
    in_parts = stages.quantized()
    assert f"goes on after {where}." in capsys.readouterr().out
    assert_same_weights(in_parts / "model.keras", at_once / "model.keras")
    rows = read_rows(in_parts / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    # The averages of an epoch are over all of its steps, those before the stop too.
    assert rows == read_rows(at_once / "history.csv")


VARIANTS = {
    "noisy gradients": {"quantizer": "dorefa", "quantize.gradient_bits": 6},
    "learned scales": {
        "quantizer": "ttq",
        "quantize.activation_bits": 4,
        "quantize.activation_quantizer": "pact",
    },
    "learned steps": {"quantizer": "lsq", "quantize.activation_bits": 4},
    "gradual": {
        "quantized.methods": ("gradual",),
        "quantized.gradual.bits": (8, 4),
        "quantized.gradual.share": (0.5,),
    },
    "moving average": {"quantized.methods": ("ema",), "quantized.ema.momentum": 0.9},
    "bfloat16": {"run.mixed_precision": "mixed_bfloat16"},
    "two steps in a call": {"run.steps_per_execution": 2},
    "XLA": {"run.jit_compile": True},
    "XLA, float16, two steps in a call, kept logits": {
        "run.jit_compile": True,
        "run.mixed_precision": "mixed_float16",
        "run.steps_per_execution": 2,
        "teacher.views": 2,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_sigterm_inside_an_epoch_costs_nothing_whatever_is_trained(tmp_path, monkeypatch, settings):
    save_linear(tmp_path / "teacher.keras", seed=1)
    recipe = RECIPE.changed(
        {"teacher": str(tmp_path / "teacher.keras"), "student.training.epochs": 0, **settings}
    )
    at_once = make_stages(recipe, tmp_path / "at_once").quantized()
    stages = make_stages(recipe, tmp_path / "interrupted")
    each = recipe.run.steps_per_execution
    with pytest.MonkeyPatch.context() as patch, orderly():
        stop_after(6 // each, patch)
        with pytest.raises(Interrupted, match="after epoch 1 and 2 steps of"):
            stages.quantized()
    in_parts = stages.quantized()
    assert_same_weights(in_parts / "model.keras", at_once / "model.keras")
    assert read_rows(in_parts / "history.csv") == read_rows(at_once / "history.csv")


def _interrupt(*_, **__):
    raise KeyboardInterrupt


def test_an_export_that_was_killed_leaves_no_drafts(tmp_path, monkeypatch, no_training):
    recipe = RECIPE.changed(
        {"student.training.epochs": 0, "quantized.training.epochs": 0}, teacher="none"
    )
    stages = make_stages(recipe, tmp_path)

    def killed(model, directory, *_, **__):
        (directory / ".draft").mkdir()
        (directory / ".draft" / "student.tflite").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("tfqkd.export.exporter.export", killed)
    with pytest.raises(KeyboardInterrupt):
        stages.exported()
    monkeypatch.setattr("tfqkd.export.exporter.export", lambda *_, **__: [])
    exported = stages.exported()
    assert {path.name for path in exported.rglob("*")} == {"reports.json", "product.json"}


def test_files_are_calibrated_on_all_classes_and_measured_on_all_test_images(tmp_path, monkeypatch):
    labels = np.repeat(np.arange(CLASSES), 20)
    pixels = np.broadcast_to(labels.astype(np.uint8)[:, None, None, None], (80, 8, 8, 1)).copy()
    split = Split(pixels, labels)  # Sorted by class, as a folder of images is.
    data = ImageData("sorted", tuple("abcd"), split, None, split)
    given = {}
    monkeypatch.setattr("tfqkd.export.exporter.export", lambda *_, **all_: given.update(all_) or [])
    monkeypatch.setattr("tfqkd.training.exporting.CALIBRATION_IMAGES", 12)
    monkeypatch.setattr("tfqkd.training.exporting.VERIFIED_IMAGES", 8)
    monkeypatch.setattr(front, "load", lambda _: None)
    monkeypatch.setattr(Staged, "quantized", lambda _: None)
    make_stages(RECIPE, tmp_path, data).exported()
    for name, count in (("calibration", 3), ("images", 2)):
        assert np.bincount(given[name][:, 0, 0, 0]).tolist() == [count] * CLASSES
    np.testing.assert_array_equal(given["test"][0], split.images)
    np.testing.assert_array_equal(given["test"][1], split.labels)


def test_the_seed_and_nothing_else_decides_the_first_weights(tmp_path, no_training):
    def student(name, **changes):
        recipe = RECIPE.changed({"student.training.epochs": 0, **changes})
        return make_stages(recipe, tmp_path / name).student()

    first = student("first")
    assert_same_weights(first, student("again", seed=5, **{"run.pretrain_seed": 0}))
    kernels = [
        load_model(path).get_layer("conv1").kernel.numpy()
        for path in (first, student("other", seed=5))
    ]
    assert not np.array_equal(*kernels)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Where the quantized stages of one untrained student are kept: the student is made once."""
    return tmp_path_factory.mktemp("untrained")


def quantized_kernels(directory, **changes):
    """Float and quantized kernels by layer, of a quantized stage without an epoch."""
    recipe = RECIPE.changed(
        {"teacher": "none", "student.training.epochs": 0, "quantized.training.epochs": 0, **changes}
    )
    stages = make_stages(recipe, directory)
    models = load_model(stages.student()), load_model(stages.quantized() / "model.keras")
    names = ("conv1", "conv2", "conv3", "logits")
    return [{name: model.get_layer(name).kernel.numpy() for name in names} for model in models]


def ternary(kernel):
    """Q(w) with the L2-optimal step: the mean of the k largest |w| where (Σ|w|)²/k is largest."""
    largest = np.sort(np.abs(kernel.astype(np.float64)), axis=None)[::-1]
    counts = np.arange(1, largest.size + 1)
    sums = np.cumsum(largest)
    best = np.argmax(sums**2 / counts)
    step = sums[best] / counts[best]
    return np.where(np.abs(kernel) >= step / 2, step * np.sign(kernel), 0)


@pytest.mark.parametrize("quantizer", ["twn", "absmean", "ttq", "lsq", "dorefa"])
def test_the_quantizer_of_the_recipe_quantizes_the_kernels(untrained, no_training, quantizer):
    floats, quantized = quantized_kernels(untrained, quantizer=quantizer)
    kernel, levels = floats["conv3"], np.unique(quantized["conv3"])
    magnitudes = np.abs(kernel)
    if quantizer == "twn":
        scale = magnitudes[magnitudes > 0.7 * magnitudes.mean()].mean()
        np.testing.assert_allclose(levels, [-scale, 0, scale], rtol=1e-5)
    elif quantizer == "absmean":
        scale = magnitudes.mean()
        codes = np.sign(kernel) * (magnitudes >= scale / 2)
        np.testing.assert_allclose(quantized["conv3"], scale * codes, rtol=1e-5)
    elif quantizer == "ttq":
        threshold = 0.05 * magnitudes.max()
        sides = -kernel[kernel < -threshold].mean(), kernel[kernel > threshold].mean()
        np.testing.assert_allclose(levels, [-sides[0], 0, sides[1]], rtol=1e-5)
    elif quantizer == "lsq":
        step = 2 * magnitudes.mean()
        codes = np.clip(np.round(kernel / step), -2, 1)
        np.testing.assert_allclose(quantized["conv3"], step * codes, rtol=1e-5)
    else:
        np.testing.assert_allclose(levels, [-1, -1 / 3, 1 / 3, 1], rtol=1e-6)


@pytest.mark.parametrize("kind", ["lsq", "pact"])
def test_activations_start_from_the_first_batch_and_are_kept_in_the_stripped_model(
    untrained, no_training, kind
):
    recipe = RECIPE.changed(
        {
            "student.training.epochs": 0,
            "quantized.training.epochs": 0,
            "quantize.activation_bits": 4,
            "quantize.activation_quantizer": kind,
            "quantize.layer_bits": ("conv3=2/8",),
        },
        teacher="none",
    )
    stages = make_stages(recipe, untrained)
    model = load_model(stages.quantized() / "model.keras")
    found = {x.name: (x.lower, x.upper) for x in model.layers if hasattr(x, "upper")}
    assert found == {"relu1_quantization": (0, 15), "relu2_quantization": (0, 255)}
    # As if every image were seen: the mean and the largest activation of 16 of them are close.
    relu1 = keras.Model(model.inputs, model.get_layer("relu1").output)
    values = relu1(stages.data.train.images.astype(np.float32), training=True).numpy()
    expected = 2 * values.mean() / 15**0.5 if kind == "lsq" else values.max() / 15
    assert model.get_layer("relu1_quantization").step == pytest.approx(expected, rel=0.5)


GENTLE = RECIPE.changed({"student.training.epochs": 0}, teacher="none")


@pytest.mark.parametrize("batch_norm", some(["plain", "augmented", "moving"], "plain"))
def test_every_stage_keeps_the_statistics_of_batch_norm_that_the_recipe_names(
    tmp_path, monkeypatch, batch_norm
):
    moving = np.float32(0.25)

    def trained(trainer, *_):
        for layer in batch_norms(trainer._trained):
            layer.moving_mean.assign(tf.fill(layer.moving_mean.shape, moving))

    monkeypatch.setattr(KerasTrainer, "fit", trained)
    recipe = RECIPE.changed({"training.batch_size": 70, "training.batch_norm": batch_norm}, bits=32)
    stages = make_stages(recipe, tmp_path)
    (teacher,), student = stages.teachers(), stages.student()
    kept = [teacher, student, stages.quantized() / "model.keras"]
    for stage, path in zip(stages.stages, kept, strict=True):
        model = load_model(path)
        layer = batch_norms(model)[0]
        ahead = keras.Model(model.inputs, layer.input)
        shown = DATA.train.images
        if batch_norm == "augmented":
            ((images, _),) = training_stream(stage.training, DATA, epochs=1)
            shown = images.numpy()
        expected = np.mean(ahead.predict(shown, verbose=0), axis=(0, 1, 2))
        wanted = np.full_like(expected, moving) if batch_norm == "moving" else expected
        np.testing.assert_allclose(layer.moving_mean, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_statistics_measured_anew_change_batch_norm_and_nothing_else(tmp_path):
    recipe = GENTLE.changed({"quantized.training.epochs": 1}, student=str(tmp_path / "cnn.keras"))
    build("cnn2", DATA.image_shape, CLASSES).save(tmp_path / "cnn.keras")
    plain, moving = (
        load_model(make_stages(changed, tmp_path).quantized() / "model.keras")
        for changed in (recipe, recipe.changed({"training.batch_norm": "moving"}))
    )
    for one, other in zip(plain.weights, moving.weights, strict=True):
        assert np.array_equal(one, other) != ("moving_" in one.name), one.name


@pytest.mark.slow
def test_gradual_quantization_ends_with_the_bits_and_all_weights(tmp_path):
    recipe = GENTLE.changed(
        {
            "quantized.methods": ("gradual",),
            "quantized.gradual.bits": (8, 4),
            "quantized.gradual.share": (0.5,),
        }
    )
    model = load_model(make_stages(recipe, tmp_path).quantized() / "model.keras")
    for name in ("conv2", "conv3"):
        assert len(np.unique(model.get_layer(name).kernel.numpy())) == 3


@pytest.mark.slow
def test_the_moving_average_replaces_the_weights_also_after_an_interruption(tmp_path):
    recipe = GENTLE.changed(
        {
            "quantized.methods": ("ema",),
            "quantized.ema.momentum": 0.9,
            "quantized.training.epochs": 2,
        }
    )
    at_once = make_stages(recipe, tmp_path / "at_once", UNWATCHED).quantized()
    stages = make_stages(recipe, tmp_path / "interrupted", UNWATCHED)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(front, "summary", _interrupt)
        stages.quantized()
    assert_same_weights(stages.quantized() / "model.keras", at_once / "model.keras")
    plain = recipe.changed({"quantized.methods": ()})
    other = make_stages(plain, tmp_path / "plain", UNWATCHED).quantized()
    first, second = (weights_of(path / "model.keras")[0] for path in (at_once, other))
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.slow
def test_steps_that_follow_the_weights_follow_their_moving_average(tmp_path):
    recipe = GENTLE.changed(
        {
            "quantized.methods": ("ema",),
            "quantized.ema.momentum": 0.9,
            "quantize.step_update": "every_step",
            "quantized.training.epochs": 1,
        }
    )
    product = make_stages(recipe, tmp_path).quantized()
    with tfmot.quantization.keras.quantize_scope():
        model = keras.models.load_model(product / "quantized.h5", compile=False)
    for kernel in wrapped_kernels(model):
        optimum = optimal_step(kernel.latent, 2)
        np.testing.assert_allclose(kernel.state["step"], optimum, rtol=1e-6)


def test_what_is_frozen_in_a_students_file_is_so_in_the_run(tmp_path):
    keras.utils.set_random_seed(0)
    student = build("cnn3", DATA.image_shape, CLASSES)
    for name in ("conv1", "bn1", "conv2"):
        student.get_layer(name).trainable = False
    student.save(tmp_path / "student.keras")
    save_linear(tmp_path / "teacher.keras", seed=1)
    recipe = RECIPE.changed(
        {
            "quantize.step_update": "every_step",
            "quantize.activation_bits": 8,
            "quantized.methods": ("ema",),
            "quantized.ema.momentum": 0.9,
            "quantized.training.epochs": 1,
        },
        student=str(tmp_path / "student.keras"),
        teacher=str(tmp_path / "teacher.keras"),
    )
    product = make_stages(recipe, tmp_path / "run", UNWATCHED).quantized()
    with tfmot.quantization.keras.quantize_scope():
        wrapped = keras.models.load_model(product / "quantized.h5", compile=False)
    expected = quantize_model(student, scheme_of(recipe))
    kernels = {kernel.layer: kernel for kernel in wrapped_kernels(wrapped)}
    for kernel in wrapped_kernels(expected):
        pairs = [(kernels[kernel.layer].latent, kernel.latent)]
        pairs += [(kernels[kernel.layer].state["step"], kernel.state["step"])]
        same = [np.array_equal(one, other) for one, other in pairs]
        assert same == [not kernel.trainable] * 2, kernel.layer
    plain = load_model(product / "model.keras")
    for layer in student.layers:
        assert plain.get_layer(layer.name).trainable == layer.trainable
    norms = [model.get_layer("bn1").get_weights() for model in (plain, student)]
    for one, other in zip(*norms, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_quantized_stage_starts_from_the_float_students_ternary_weights(untrained, no_training):
    floats, quantized = quantized_kernels(untrained)
    for name in ("conv2", "conv3"):
        np.testing.assert_allclose(quantized[name], ternary(floats[name]), rtol=1e-5)
    for name in ("conv1", "logits"):
        np.testing.assert_array_equal(quantized[name], floats[name])


def test_granularity_and_bits_of_layers_reach_the_quantizer(untrained, no_training):
    floats, quantized = quantized_kernels(
        untrained,
        **{
            "quantize.granularity": "channel",
            "quantize.layer_bits": ("conv1=8", "conv2=float", "logits=3"),
        },
    )
    np.testing.assert_array_equal(quantized["conv2"], floats["conv2"])
    expected = np.stack([ternary(channel) for channel in np.moveaxis(floats["conv3"], -1, 0)], -1)
    np.testing.assert_allclose(quantized["conv3"], expected, rtol=1e-5)
    for name, levels in (("logits", 7), ("conv1", 255)):
        for float_channel, channel in zip(floats[name].T, quantized[name].T, strict=True):
            magnitudes = np.unique(np.abs(channel))
            step = np.diff(magnitudes).min()
            np.testing.assert_allclose(channel / step, np.round(channel / step), atol=1e-3)
            assert magnitudes.max() / step <= (levels - 1) / 2 + 1e-3
            # What is clipped apart, no weight moves by more than half a step.
            inside = np.abs(float_channel) < magnitudes.max()
            assert np.abs(float_channel - channel)[inside].max() <= step / 2 * (1 + 1e-4)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("teachers", "settings"),
    [
        (0, {"training.label_smoothing": 0.2}),
        (
            1,
            {"temperature": 3.0, "coefficient": 0.25, "distil.scale_by_temperature_squared": False},
        ),
        (
            1,
            {
                "temperature": 4.0,
                "coefficient": 1.0,
                "distil.soft_loss": "kl",
                "training.label_smoothing": 0.1,
            },
        ),
        (2, {"temperature": 1.5, "coefficient": 0.75}),
        (1, {"coefficient": 0.4, "distil.soft_loss": "none"}),
        pytest.param(
            1,
            {"temperature": 2.5, "coefficient": 0.5, "run.jit_compile": True},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["no teacher", "not scaled", "kl", "two teachers", "control", "compiled"],
)
def test_one_step_of_the_quantized_stage_in_closed_form(tmp_path, teachers, settings):
    paths = [tmp_path / f"teacher{number}.keras" for number in range(teachers)]
    taught = [save_linear(path, seed) for seed, path in enumerate(paths)]
    kernel, bias = save_linear(tmp_path / "student.keras", seed=9)
    rate = 1e-5
    recipe = Recipe(
        {
            "student": str(tmp_path / "student.keras"),
            "teacher": ",".join(map(str, paths)) or "none",
            "bits": 32,
            "schedule": "constant",
            "quantized.training.epochs": 1,
            "quantized.training.learning_rate": rate,
            "training.schedule": "constant",
            "training.batch_size": len(DATA.train),
            "training.momentum": 0.0,
            "training.weight_decay": 0.0,
            "data.crop_padding": 0,
            "data.flip": False,
            **settings,
        }
    )
    product = make_stages(recipe, tmp_path / "products").quantized()

    pixels = DATA.train.images.reshape(len(DATA.train), -1).astype(np.float64)
    labels = np.eye(CLASSES)[DATA.train.labels]
    labels = (
        labels * (1 - recipe.training.label_smoothing) + recipe.training.label_smoothing / CLASSES
    )
    logits = pixels @ kernel + bias
    hard = -(labels * np.log(softmax(logits))).sum(axis=1).mean()
    pull = softmax(logits) - labels
    loss, soft = hard, 0.0
    if recipe.distils:
        weight, temperature = recipe.distil.coefficient, recipe.distil.temperature
        pull *= 1 - weight
        if recipe.has_teacher:
            targets = softmax(np.mean([pixels @ w + b for w, b in taught], axis=0) / temperature)
            softened = softmax(logits / temperature)
            soft = -(targets * np.log(softened)).sum(axis=1).mean()
            if recipe.distil.soft_loss == "kl":
                soft += (targets * np.log(targets)).sum(axis=1).mean()
            scale = temperature**2 if recipe.distil.scale_by_temperature_squared else 1
            soft *= scale
            pull += weight * scale / temperature * (softened - targets)
        loss = (1 - weight) * hard + weight * soft
    (row,) = read_rows(product / "history.csv")
    assert float(row["loss"]) == pytest.approx(loss, rel=1e-5)
    assert ("hard_loss" in row) == recipe.distils
    # The control has no teacher whose answers could be measured.
    assert ("soft_loss" in row) == ("agreement" in row) == recipe.has_teacher
    if recipe.distils:
        assert float(row["hard_loss"]) == pytest.approx(hard, rel=1e-5)
    if recipe.has_teacher:
        assert float(row["soft_loss"]) == pytest.approx(soft, rel=1e-5)
    new_kernel, new_bias = weights_of(product / "model.keras")
    step = -rate * pixels.T @ pull / len(pixels)
    np.testing.assert_allclose(new_kernel - kernel, step, rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(new_bias - bias, -rate * pull.mean(axis=0), rtol=0.05, atol=2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_nearly_what_single_precision_trains(tmp_path, policy):
    recipe = RECIPE.changed(
        {
            "teacher.training.epochs": 0,
            "student.training.epochs": 0,
            "quantized.training.epochs": 1,
        },
        temperature=3.0,
    )
    rows, models = [], []
    for precision in ("float32", policy):
        changed = recipe.changed({"run.mixed_precision": precision})
        product = make_stages(changed, tmp_path, UNWATCHED).quantized()
        rows += read_rows(product / "history.csv")
        models.append(load_model(product / "model.keras"))
    assert float(rows[1]["loss"]) != float(rows[0]["loss"])
    for name in ("loss", "hard_loss", "soft_loss"):
        assert float(rows[1][name]) == pytest.approx(float(rows[0][name]), rel=0.03)
    layer = models[1].get_layer("conv2")
    assert layer.compute_dtype == policy.removeprefix("mixed_")
    assert layer.kernel.dtype == models[1].get_layer("logits").compute_dtype == "float32"
    step = np.abs(layer.kernel).max()
    assert set(np.unique(layer.kernel)) == {-step, 0, step}


@pytest.mark.parametrize(
    ("saved", "asked"),
    [("float32", "mixed_float16"), ("mixed_bfloat16", "float32"), ("float32", "float32")],
)
def test_a_saved_student_has_the_precision_of_the_run(tmp_path, saved, asked):
    path = tmp_path / "student.keras"
    keras.mixed_precision.set_global_policy(saved)
    try:
        save_linear(path, seed=0, hidden=2)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    recipe = Recipe(
        {"training.batch_size": 16, "run.mixed_precision": asked},
        student=str(path),
        teacher="cnn2",
        formats=(),
    )
    stages = make_stages(recipe, tmp_path / "products")
    if saved == asked:
        stages.check()
        return
    kind = saved.removeprefix("mixed_")
    with pytest.raises(
        ValueError,
        match=rf"precision of the run\. Received: {path}.* compute in {kind}.*mixed_precision={asked}",
    ):
        stages.check()
    # As a teacher it is used as it is.
    taught = recipe.changed(student="cnn2", teacher=str(path))
    make_stages(taught, tmp_path / "products").check()


def test_validation_is_measured_after_every_epoch(tmp_path):
    save_linear(tmp_path / "student.keras", seed=9)
    recipe = Recipe(
        {
            "quantized.training.epochs": 2,
            "quantized.training.learning_rate": 1e-5,
            "training.batch_size": 32,
            "training.warmup_epochs": 1.0,
        },
        student=str(tmp_path / "student.keras"),
        teacher="none",
        bits=32,
    )
    product = make_stages(recipe, tmp_path / "products").quantized()
    kernel, bias = weights_of(product / "model.keras")
    split = DATA.validation
    logits = split.images.reshape(len(split), -1) @ kernel.astype(np.float64) + bias
    last = read_rows(product / "history.csv")[-1]
    right = logits.argmax(axis=1) == split.labels
    assert float(last["val_accuracy"]) == pytest.approx(right.mean())
    losses = -np.log(softmax(logits)[np.arange(len(split)), split.labels])
    assert float(last["val_loss"]) == pytest.approx(losses.mean(), rel=1e-5)
    # Two steps an epoch: a rise over the first two, milestones at the third and the fourth.
    rates = [float(row["learning_rate"]) for row in read_rows(product / "history.csv")]
    np.testing.assert_allclose(rates, [1e-5, 1e-7], rtol=1e-5)


def test_a_last_step_that_ruins_the_weights_is_refused_and_not_kept(tmp_path):
    save_linear(tmp_path / "student.keras", seed=0)
    recipe = Recipe(
        {
            "quantized.training.epochs": 1,
            "training.batch_size": 70,
            "quantized.training.learning_rate": 3e38,
            "training.momentum": 0.0,
        },
        student=str(tmp_path / "student.keras"),
        teacher="none",
        bits=32,
    )
    with pytest.raises(ValueError, match=r"weights must stay finite.*after epoch 1 of the float"):
        make_stages(recipe, tmp_path / "products", UNWATCHED).quantized()
    assert [entry for entry in (tmp_path / "products").iterdir() if entry.suffix == ""] == []


def test_a_model_that_keras_builds_but_cannot_run_is_refused_before_training(tmp_path, no_training):
    inputs = keras.Input((8, 8, 1))
    shared = keras.layers.Conv2D(2, 2, name="twice")  # Built for one channel, called on two.
    outputs = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(shared(shared(inputs))))
    keras.Model(inputs, outputs).save(tmp_path / "broken.keras")
    recipe = RECIPE.changed(student=str(tmp_path / "broken.keras"))
    with pytest.raises(
        ValueError, match=r"must run on images.*broken\.keras, which Keras refuses to call"
    ):
        make_stages(recipe, tmp_path / "products").check()


def test_models_that_fit_pass_the_check(tmp_path, no_training):
    save_linear(tmp_path / "student.keras", seed=0)
    make_stages(RECIPE.changed(formats=("litert-int2",)), tmp_path / "products").check()
    recipe = Recipe(
        {"training.batch_size": 70},
        student=str(tmp_path / "student.keras"),
        teacher="cnn2,cnn4",
        bits=32,
        formats=(),
    )
    make_stages(recipe, tmp_path / "products").check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantize.layer_bits": ("conv9=4",)}, r"must name layers.*Received: 'conv9'"),
        ({"quantize.layer_bits": (".*=float",)}, "must quantize at least one layer"),
        ({"student": "resnet20", "quantize.layer_bits": ("conv2=4",)}, r"must name layers"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_training(tmp_path, changes, message):
    recipe = RECIPE.changed(changes)
    with pytest.raises(ValueError, match=message):
        make_stages(recipe, tmp_path).check()


@pytest.mark.parametrize("bits", [2, 32])
def test_a_student_of_fixed_roundings_is_refused_where_they_would_stay(tmp_path, bits):
    path = tmp_path / "student.keras"
    layers = [keras.layers.Conv2D(2, 3, name=name) for name in "abc"]
    rounding = ActivationQuantization(0.1, -8, 7, name="rounding")
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES)]
    keras.Sequential([keras.Input((8, 8, 1)), *layers, rounding, *head]).save(path)
    recipe = RECIPE.changed(student=str(path), bits=bits, teacher="none", formats=())
    with pytest.raises(
        ValueError, match=r"nothing before them would learn\. Received: layer 'rounding'"
    ):
        make_stages(recipe, tmp_path / "products").check()
    if bits == 2:
        make_stages(recipe.changed({"quantize.deploy": True}), tmp_path / "products").check()


def test_a_model_of_images_of_any_size_fits(tmp_path):
    path = tmp_path / "model.keras"
    pool = keras.layers.GlobalAveragePooling2D()
    keras.Sequential([keras.Input((None, None, 1)), pool, keras.layers.Dense(CLASSES)]).save(path)
    make_stages(RECIPE.changed(teacher=str(path)), tmp_path / "p").check()


@pytest.mark.parametrize(
    ("shape", "layer", "names", "message"),
    [
        ((None, None, 1), keras.layers.ReLU(), "abcd", "of a fixed size"),
        ((8, 8, 1), keras.layers.ReLU(), ["a", "b", "c", "d\ne"], "strings without line breaks"),
    ],
    ids=["images of any size", "names of two lines"],
)
def test_a_student_that_cannot_be_exported_is_refused_before_training(
    tmp_path, shape, layer, names, message
):
    path = tmp_path / "student.keras"
    pool = keras.layers.GlobalAveragePooling2D()
    keras.Sequential([keras.Input(shape), layer, pool, keras.layers.Dense(CLASSES)]).save(path)
    data = dataclasses.replace(DATA, class_names=tuple(names))
    recipe = RECIPE.changed(bits=32, student=str(path), formats=("keras",))
    with pytest.raises((ValueError, ExportError), match=message):
        make_stages(recipe, tmp_path / "products", data).check()
    # Without an export it is as good as any other.
    recipe = recipe.changed(formats=())
    make_stages(recipe, tmp_path / "products", data).check()


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_model_that_ends_in_softmax_is_refused_before_training(tmp_path, role):
    path = tmp_path / "model.keras"
    save_linear(path, seed=0, activation="softmax")
    recipe = RECIPE.changed({"bits": 32, **{role: str(path)}})
    with pytest.raises(ValueError, match=f"The {role} must end in logits"):
        make_stages(recipe, tmp_path / "products").check()
    if role == "student":
        with pytest.raises(ValueError, match="must end in logits"):
            make_stages(recipe.changed(teacher="none"), tmp_path / "p").check()


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("no model")
    with pytest.raises(ValueError, match=rf"must be a saved Functional.*Received: {path}"):
        make_stages(RECIPE.changed(student=str(path)), tmp_path / "p").check()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(CLASSES)

    def call(self, images):
        return self.dense(tf.reshape(images, [-1, 64]))


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("kind", [tf.Module, Subclassed])
def test_a_saved_model_without_layers_that_keras_knows_is_refused(tmp_path, role, kind):
    path = tmp_path / "model"
    module = kind()
    if isinstance(module, keras.Model):
        module(tf.zeros([1, 8, 8, 1]))
        module.save(path)
    else:
        tf.saved_model.save(module, path)
    recipe = RECIPE.changed({role: str(path)})
    with pytest.raises(
        ValueError, match=rf"must be a saved Functional or Sequential.*Received: {path}"
    ):
        make_stages(recipe, tmp_path / "p").check()


def test_a_functional_saved_model_fits(tmp_path):
    save_linear(tmp_path / "model", seed=0)
    recipe = RECIPE.changed(teacher=str(tmp_path / "model"))
    make_stages(recipe, tmp_path / "p").check()


def loops(path):
    """A student that LiteRT has no operations for."""
    layers = [keras.layers.Reshape((8, 8)), keras.layers.LSTM(3), keras.layers.Dense(CLASSES)]
    keras.Sequential([keras.Input((8, 8, 1)), *layers]).save(path)


def test_formats_are_tried_on_the_untrained_student_before_training(tmp_path, no_training):
    loops(path := tmp_path / "student.keras")
    formats = ("saved_model", "litert-int8")
    recipe = RECIPE.changed(bits=32, student=str(path), formats=formats)
    message = r"'lstm', a LSTM .* unroll=True.*leave litert-int8 out"
    with files_run_here(), pytest.raises(ExportError, match=message):
        make_stages(recipe, tmp_path / "products").check()


def test_formats_are_not_tried_where_nothing_is_left_to_train(tmp_path, monkeypatch):
    save_linear(path := tmp_path / "student.keras", seed=0)
    recipe = RECIPE.changed(
        {"quantized.training.epochs": 1},
        bits=32,
        student=str(path),
        teacher="none",
        formats=("keras",),
    )
    tried = []
    monkeypatch.setattr("tfqkd.export.early_check.require_formats", lambda *_: tried.append(1))
    stages = make_stages(recipe, tmp_path / "products")
    stages.check()
    assert tried == [1]
    stages.quantized()
    stages.check()
    assert tried == [1]
