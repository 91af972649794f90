import itertools

import numpy as np
import pytest

import tfqkd
from tfqkd.compat import keras, tf, tfmot
from tfqkd.quantization.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.quantization.model import (
    quantize_model,
    quantized_kernels,
    quantizer_variables,
    strip_quantization,
)
from tfqkd.quantization.published_quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
)
from tfqkd.quantization.schemes import Scheme

from . import reference

layers = keras.layers

QUANTIZERS = {
    "twn": TwnQuantizer(),
    "ttq": TtqQuantizer(),
    "lsq": LsqQuantizer(3),
    "lsq_channel": LsqQuantizer(2, "channel"),
    "dorefa": DorefaQuantizer(3),
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


def train(model, **options):
    model.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    model.fit(IMAGES, LABELS, epochs=2, batch_size=3, verbose=0)
    return model


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
    ("name", "activations"),
    [
        pytest.param("twn", PactQuantizer(3), marks=pytest.mark.slow),
        ("ttq", LsqActivationQuantizer(4)),
        pytest.param("lsq_channel", PactQuantizer(3), marks=pytest.mark.slow),
        pytest.param("dorefa", LsqActivationQuantizer(2), marks=pytest.mark.slow),
    ],
)
def test_a_model_survives_h5_saved_model_and_checkpoint(name, activations, tmp_path):
    scheme = Scheme(QUANTIZERS[name], activations)
    quantized = train(quantize_model(network(), scheme))
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
    other = quantize_model(network(), scheme)
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
            QUANTIZERS, itertools.cycle([LsqActivationQuantizer(4), PactQuantizer(4)]), strict=False
        )
    ],
)
def test_scales_are_learned_in_float32_under_mixed_precision(name, activations, mixed_float16):
    scheme = Scheme(QUANTIZERS[name], activations)
    quantized = quantize_model(network(), scheme)
    loss_scaled = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    quantized.compile(loss_scaled, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [variable.numpy() for variable in quantizer_variables(quantized)]
    quantized.fit(IMAGES, LABELS, epochs=2, verbose=0)
    for variable, first in zip(quantizer_variables(quantized), before, strict=True):
        assert variable.dtype == tf.float32
        assert np.isfinite(variable.numpy()).all()
        assert np.abs(variable.numpy() - first).max() > 0
    np.testing.assert_array_equal(quantized(IMAGES), strip_quantization(quantized)(IMAGES))


def test_learned_scales_train_under_a_distiller():
    quantized = quantize_model(network(), Scheme(TtqQuantizer(), PactQuantizer(4)))
    distiller = tfqkd.Distiller(quantized, network(), coefficient=0.5)
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
