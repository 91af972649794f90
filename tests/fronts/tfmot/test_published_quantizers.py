import itertools

import numpy as np
import pytest

import tfqkd
from tests.core import reference
from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.quantizers import (
    AbsmeanQuantizer,
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.gradual import GradualQuantization
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels, quantizer_variables
from tfqkd.fronts.tfmot.stripping import strip_quantization

layers = keras.layers

QUANTIZERS = {
    "twn": TwnQuantizer(),
    "absmean": AbsmeanQuantizer(),
    "ttq": TtqQuantizer(),
    "lsq": LsqQuantizer(3),
    "lsq_channel": LsqQuantizer(2, "channel"),
    "dorefa": DorefaQuantizer(3),
}
EVERY = {
    **QUANTIZERS,
    "uniform": UniformQuantizer(3, "channel", "every_step"),
    "noisy": DorefaQuantizer(3, gradient_bits=6),
    "gradual": GradualQuantizer(LsqQuantizer(2), wider=(4,), by_share=True),
}
IMAGES = np.random.default_rng(0).normal(size=(6, 6, 6, 2)).astype(np.float32)
LABELS = np.arange(6) % 4


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, name="stem", activation="relu"),
            layers.Conv2D(4, 3, name="middle", bias_initializer="ones"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flatten"),
            layers.Dense(5, name="hidden"),
            layers.Dense(4, name="head", dtype="float32"),
        ]
    )


def expected(quantizer, kernel, state):
    """The quantized kernel by NumPy, from the latent one and the trained state."""
    if isinstance(quantizer, TwnQuantizer):
        return reference.twn(kernel)
    if isinstance(quantizer, AbsmeanQuantizer):
        return reference.absmean(kernel)
    if isinstance(quantizer, TtqQuantizer):
        threshold = np.float32(0.05) * np.abs(kernel).max()
        return np.where(
            kernel > threshold,
            state["positive"],
            np.where(kernel < -threshold, -state["negative"], 0),
        )
    if isinstance(quantizer, LsqQuantizer):
        largest = 2 ** (quantizer.bits - 1)
        return reference.lsq(kernel, state["step"], -largest, largest - 1)
    return reference.dorefa(kernel, quantizer.bits)


def gently(name):
    return [GradualQuantization((0.5,))] if name == "gradual" else []


def train(model, callbacks=(), **options):
    model.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    model.fit(IMAGES, LABELS, epochs=2, batch_size=3, verbose=0, callbacks=list(callbacks))
    return model


def applied(model, scheme):
    """The model through tfmot's own functions, with the layers that `quantize_model` takes by default."""
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    annotated = keras.models.clone_model(
        model, clone_function=lambda x: annotate(x) if x.name in ("middle", "hidden") else x
    )
    return tfmot.quantization.keras.quantize_apply(annotated, scheme)


@pytest.mark.parametrize(
    "jit_compile", [pytest.param(False, marks=pytest.mark.slow), True], ids=["graph", "XLA"]
)
@pytest.mark.parametrize("name", QUANTIZERS)
def test_trained_kernels_equal_numpy_and_are_stripped_to_the_same_bits(name, jit_compile):
    quantizer = QUANTIZERS[name]
    quantized = quantize_model(network(), Scheme(quantizer))
    before = [variable.numpy() for variable in quantizer_variables(quantized)]
    train(quantized, jit_compile=jit_compile)
    learned = quantizer_variables(quantized)
    assert len(learned) == {"ttq": 4, "lsq": 2, "lsq_channel": 2}.get(name, 0)
    for variable, first in zip(learned, before, strict=True):
        assert np.abs(variable.numpy() - first).max() > 1e-6
    for kernel in quantized_kernels(quantized):
        state = {key: variable.numpy() for key, variable in kernel.state.items()}
        value = expected(quantizer, kernel.latent.numpy(), state)
        np.testing.assert_allclose(kernel.value(), value, rtol=1e-5, atol=1e-7)
    stripped = strip_quantization(quantized)
    np.testing.assert_array_equal(quantized(IMAGES), stripped(IMAGES))


@pytest.mark.parametrize(
    ("make", "name", "activations"),
    [
        pytest.param(make, name, activations, marks=() if default else pytest.mark.slow)
        for make, cycle in (
            (quantize_model, [PactQuantizer(3), LsqActivationQuantizer(4)]),
            (applied, [LsqActivationQuantizer(2), PactQuantizer(4)]),
        )
        for name, activations in zip(EVERY, itertools.cycle(cycle), strict=False)
        for default in [(make, name) == (quantize_model, "ttq")]
    ],
)
def test_a_model_is_stripped_and_survives_h5_saved_model_and_checkpoint(
    make, name, activations, tmp_path
):
    scheme = Scheme(EVERY[name], activations)
    quantized = train(make(network(), scheme), gently(name))
    logits = quantized(IMAGES).numpy()
    quantized.save(tmp_path / "model.h5", include_optimizer=False)
    with tfmot.quantization.keras.quantize_scope():
        loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_array_equal(loaded(IMAGES), logits)
    np.testing.assert_array_equal(strip_quantization(loaded)(IMAGES), logits)

    strip_quantization(quantized).save(tmp_path / "stripped.keras")
    stripped = keras.models.load_model(tmp_path / "stripped.keras", compile=False)
    np.testing.assert_array_equal(stripped(IMAGES), logits)

    tf.saved_model.save(quantized, str(tmp_path / "saved"))
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(saved(IMAGES, training=False), logits, rtol=1e-5, atol=1e-6)

    path = tf.train.Checkpoint(model=quantized).save(tmp_path / "checkpoint")
    other = make(network(), scheme)
    tf.train.Checkpoint(model=other).restore(path).expect_partial()
    np.testing.assert_array_equal(other(IMAGES), logits)


@pytest.fixture
def mixed_float16():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize(
    ("name", "activations"),
    [
        # TTQ and LSQ learn scales of their own; of the others only the activations have some.
        pytest.param(name, activations, marks=() if name in ("ttq", "lsq") else pytest.mark.slow)
        for name, activations in zip(
            EVERY, itertools.cycle([LsqActivationQuantizer(4), PactQuantizer(4)]), strict=False
        )
    ],
)
def test_scales_are_learned_in_float32_under_mixed_precision(name, activations, mixed_float16):
    scheme = Scheme(EVERY[name], activations)
    quantized = quantize_model(network(), scheme)
    loss_scaled = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    quantized.compile(loss_scaled, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [variable.numpy() for variable in quantizer_variables(quantized)]
    quantized.fit(IMAGES, LABELS, epochs=2, verbose=0, callbacks=gently(name))
    for variable, first in zip(quantizer_variables(quantized), before, strict=True):
        assert variable.dtype == tf.float32
        assert np.isfinite(variable.numpy()).all()
        assert np.abs(variable.numpy() - first).max() > 0
    np.testing.assert_array_equal(quantized(IMAGES), strip_quantization(quantized)(IMAGES))


@pytest.mark.parametrize("normalize", [False, True])
def test_before_a_batch_norm_the_scales_of_ttq_learn_their_asymmetry_alone(normalize):
    keras.utils.set_random_seed(0)
    norm = [layers.BatchNormalization(epsilon=1e-5)] if normalize else []
    dense = layers.Dense(4, use_bias=False, name="scaled")
    model = keras.Sequential([keras.Input((8,)), dense, *norm])
    quantized = quantize_model(model, Scheme(TtqQuantizer()), layers=".*")
    (kernel,) = quantized_kernels(quantized)
    scales = [kernel.state["positive"], kernel.state["negative"]]
    generator = np.random.default_rng(0)
    data, target = (generator.normal(size=(256, n)).astype(np.float32) for n in (8, 4))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((quantized(data, training=True) - target) ** 2)
    by_positive, by_negative = (float(g) for g in tape.gradient(loss, scales))
    # Both together scale the layer, which a batch norm undoes: their gradients cancel along that direction.
    together = float(scales[0]) * by_positive + float(scales[1]) * by_negative
    apart = float(scales[0]) * by_positive - float(scales[1]) * by_negative
    assert abs(apart) > 1e-3
    assert (abs(together) < 1e-3 * abs(apart)) == normalize


@pytest.mark.parametrize("normalize", [False, True])
def test_before_a_batch_norm_a_scale_per_channel_gets_next_to_no_gradient(normalize):
    """The figures that docs/concepts/quantizers.md prints."""
    generator = np.random.default_rng(0)
    x, kernel, target = (
        generator.normal(size=shape).astype(np.float32) for shape in ((256, 8), (8, 4), (256, 4))
    )
    scale = tf.Variable(tf.ones(4))
    with tf.GradientTape() as tape:
        y = tf.matmul(x, kernel) * scale
        y = layers.BatchNormalization(epsilon=1e-5)(y, training=True) if normalize else y
        loss = tf.reduce_mean((y - target) ** 2)
    largest = float(tf.reduce_max(tf.abs(tape.gradient(loss, scale))))
    expected = np.abs((2 * (x @ kernel - target) * (x @ kernel)).sum(0) / target.size).max()
    assert largest < 1e-5 if normalize else largest == pytest.approx(expected, rel=1e-4)


def test_learned_scales_train_under_a_distiller():
    quantized = quantize_model(network(), Scheme(TtqQuantizer(), PactQuantizer(4)))
    distiller = tfqkd.Distiller(student=quantized, teacher=network(), coefficient=0.5)
    distiller.compile(
        keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    before = [variable.numpy() for variable in quantizer_variables(quantized)]
    distiller.fit(IMAGES, LABELS, verbose=0)
    moved = [
        float(np.abs(variable.numpy() - first).max())
        for variable, first in zip(quantizer_variables(quantized), before, strict=True)
    ]
    assert len(moved) == 6  # Two scales for each of two layers, and two clipping values.
    assert min(moved) > 0


@pytest.mark.parametrize("quantizer", [TwnQuantizer(), TtqQuantizer()])
def test_ternary_quantizers_know_two_bits_only(quantizer):
    assert quantizer.with_bits(2) == quantizer
    with pytest.raises(ValueError, match=r"is ternary: `bits` must be 2\. Received: bits=4"):
        quantize_model(network(), Scheme(quantizer), {"middle": 4})


@pytest.mark.parametrize("make", [LsqQuantizer, DorefaQuantizer])
def test_others_have_two_to_eight_bits(make):
    assert make(2).with_bits(8) == make(8)
    for bits in (1, 9):
        with pytest.raises(ValueError, match="`bits` must be an integer from 2 to 8"):
            make(bits)
    with pytest.raises(ValueError, match="`granularity` must be one of tensor, channel"):
        LsqQuantizer(2, "layer")


def test_a_step_never_falls_to_zero():
    dense = layers.Dense(1, kernel_initializer="ones", use_bias=False)
    model = keras.Sequential([keras.Input((4,)), dense])
    quantized = quantize_model(model, Scheme(LsqQuantizer(2)), layers=".*")
    (step,) = quantizer_variables(quantized)
    # All codes are 0 at first, v/s is 1/2: a smaller step would raise the output to where it should be.
    quantized.compile(keras.optimizers.SGD(1e3), "mse")
    quantized.fit(np.ones((2, 4)), np.ones((2, 1)), verbose=0)
    assert step.numpy().item() == np.float32(1e-8)
