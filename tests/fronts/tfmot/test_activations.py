import numpy as np
import pytest

from tests.core import reference
from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.policy import Bits
from tfqkd.core.quantizers import LsqQuantizer, UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.calibration import calibrate_activations
from tfqkd.fronts.tfmot.configs import LayerQuantizeConfig
from tfqkd.fronts.tfmot.model import quantize_model, quantized_activations, quantized_kernels
from tfqkd.fronts.tfmot.stripping import strip_quantization, strip_weights
from tfqkd.fronts.tfmot.summary import quantization_summary

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)


def rectified(fused):
    """Two convolutions with a ReLU between, fused into the first one (by name or layer) or apart from it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    activation = {True: "relu", False: None, "layer": layers.ReLU()}[fused]
    x = layers.Conv2D(3, 3, name="first", activation=activation)(inputs)
    x = x if fused else layers.ReLU(name="relu")(x)
    x = layers.Conv2D(4, 3, name="second")(x)
    return keras.Model(inputs, layers.Dense(2, name="last")(layers.Flatten()(x)))


@pytest.mark.parametrize("activations", [LsqActivationQuantizer(3), PactQuantizer(3)])
def test_a_relu_fused_or_apart_gives_the_same(activations):
    logits, steps = [], []
    for fused in (True, False):
        quantized = quantize_model(rectified(fused), Scheme(UniformQuantizer(4), activations))
        calibrate_activations(quantized, IMAGES)
        quantized.compile(keras.optimizers.SGD(0.1), "mse")
        quantized.fit(IMAGES, np.ones((4, 2)), epochs=2, verbose=0, shuffle=False)
        (found,) = quantized_activations(quantized)
        assert found.layer == ("first" if fused else "relu")
        assert found.code_range == (0, 7)
        steps.append(found.step)
        logits.append(strip_quantization(quantized)(IMAGES).numpy())
        np.testing.assert_array_equal(logits[-1], quantized(IMAGES))
    assert steps[0] == pytest.approx(steps[1], rel=1e-5)
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "activations",
    [LsqActivationQuantizer(4), pytest.param(PactQuantizer(3), marks=pytest.mark.slow)],
)
def test_scales_are_learned_under_xla_as_without_it(activations):
    data = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    learned, logits = [], []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, activation="relu", name="rectified"),
                layers.Dense(4, name="signed"),
                layers.Dense(2, name="last"),
            ]
        )
        scheme = Scheme(LsqQuantizer(3), activations)
        quantized = quantize_model(model, scheme, layers="signed|last")
        calibrate_activations(quantized, data)
        found = {a.layer: a for a in quantized_activations(quantized)}
        assert [a.quantizer.signed for a in found.values()] == [False, True]
        first = {name: float(a.learned) for name, a in found.items()}
        quantized.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
        quantized.fit(data, np.ones((8, 2)), epochs=3, batch_size=4, shuffle=False, verbose=0)
        learned.append([float(a.learned) for a in found.values()])
        assert all(abs(float(a.learned) - first[name]) > 1e-4 for name, a in found.items())
        logits.append(quantized(data).numpy())
        np.testing.assert_array_equal(strip_quantization(quantized)(data), logits[-1])
    np.testing.assert_allclose(*learned, rtol=1e-5)
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_what_the_next_layer_reads_equals_numpy(bits, signed):
    keras.utils.set_random_seed(0)
    first = layers.Dense(5, name="first", activation=None if signed else "relu")
    model = keras.Sequential(
        [keras.Input((6,)), first, layers.Dense(3, name="second", use_bias=False)]
    )
    quantized = quantize_model(
        model, Scheme(UniformQuantizer(8), LsqActivationQuantizer(bits)), layers="second"
    )
    data = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    calibrate_activations(quantized, data)
    (found,) = quantized_activations(quantized)
    (kernel,) = quantized_kernels(quantized)
    lower, upper = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    assert found.code_range == (lower, upper)
    values = first(data).numpy()
    assert found.step == pytest.approx(2 * np.abs(values).mean() / upper**0.5, rel=1e-5)
    read = reference.lsq(values, np.float32(found.step), lower, upper)
    np.testing.assert_allclose(quantized(data), read @ kernel.value(), rtol=1e-4, atol=1e-5)


def test_pact_starts_where_nothing_is_clipped_and_is_drawn_in_by_its_loss():
    quantized = quantize_model(
        rectified(True), Scheme(UniformQuantizer(4), PactQuantizer(4, regularization=0.5))
    )
    calibrate_activations(quantized, IMAGES)
    (found,) = quantized_activations(quantized)
    largest = float(tf.reduce_max(rectified(True).get_layer("first")(IMAGES)))
    assert float(found.learned) == pytest.approx(largest, rel=1e-5)
    assert found.step == pytest.approx(largest / 15, rel=1e-5)
    assert float(tf.add_n(quantized.losses)) == pytest.approx(0.5 * largest**2, rel=1e-5)
    with pytest.raises(ValueError, match="`regularization` must be 0 or more"):
        PactQuantizer(4, regularization=-1.0)


def test_data_of_several_batches_count_by_their_size():
    one, many = (
        quantize_model(rectified(True), Scheme(UniformQuantizer(4), LsqActivationQuantizer(4)))
        for _ in range(2)
    )
    calibrate_activations(one, (IMAGES, np.arange(4)))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(4))).batch(3)
    calibrate_activations(many, data)
    steps = [next(quantized_activations(model)).step for model in (one, many)]
    assert steps[0] == pytest.approx(steps[1], rel=1e-5)


def test_a_relu_that_is_called_twice_is_calibrated_on_both_calls():
    keras.utils.set_random_seed(0)
    relu, inputs = layers.ReLU(name="relu"), keras.Input((6,))
    x = relu(layers.Dense(5, name="first")(inputs))
    x = relu(layers.Dense(9, name="second", kernel_initializer="random_normal")(x))
    model = keras.Model(inputs, layers.Dense(2, name="last")(x))
    for activations in (LsqActivationQuantizer(4), PactQuantizer(4)):
        scheme = Scheme(UniformQuantizer(8), activations)
        quantized = quantize_model(model, scheme, layers="second|last")
        data = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
        calibrate_activations(quantized, data)
        (found,) = quantized_activations(quantized)
        plain = strip_weights(quantized)
        one = np.maximum(plain.get_layer("first")(data), 0)
        two = np.maximum(plain.get_layer("second")(one), 0)
        values = np.concatenate([one.ravel(), two.ravel()])
        lsq = isinstance(activations, LsqActivationQuantizer)
        expected = 2 * values.mean() / 15**0.5 if lsq else values.max() / 15
        assert found.step == pytest.approx(expected, rel=1e-5)


def test_calibration_needs_quantized_activations_and_data():
    with pytest.raises(ValueError, match="needs a model with quantized activations"):
        calibrate_activations(quantize_model(rectified(True)), IMAGES)
    quantized = quantize_model(
        rectified(True), Scheme(UniformQuantizer(), LsqActivationQuantizer(2))
    )
    with pytest.raises(ValueError, match="There must be data"):
        calibrate_activations(quantized, [])


@pytest.mark.parametrize(
    "policy",
    [
        {"second": Bits(3, 8), layers.Dense: (None, 5), "first": None},
        lambda layer: {"second": (3, 8), "last": Bits(None, 5)}.get(layer.name),
    ],
    ids=["dict", "callable"],
)
def test_a_policy_gives_bits_to_weights_and_activations(policy):
    scheme = Scheme(UniformQuantizer(2), PactQuantizer(4))
    quantized = quantize_model(rectified(False), scheme, policy)
    assert [(k.layer, k.quantizer.bits) for k in quantized_kernels(quantized)] == [("second", 3)]
    found = {a.layer: (a.quantizer.bits, a.code_range) for a in quantized_activations(quantized)}
    # Behind the ReLU unsigned for `second`; behind `second`, through Flatten, signed for `last`.
    assert found == {"relu": (8, (0, 255)), "second": (5, (-15, 15))}
    np.testing.assert_array_equal(quantized(IMAGES), strip_quantization(quantized)(IMAGES))


def test_activation_bits_need_a_scheme_that_quantizes_activations():
    with pytest.raises(ValueError, match=r"Activation bits need a scheme.*Received: Bits"):
        quantize_model(rectified(True), Scheme(UniformQuantizer()), {"second": (2, 4)})


def test_quantize_apply_does_what_quantize_model_does():
    scheme = Scheme(UniformQuantizer(3), LsqActivationQuantizer(4))
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    for fused in (True, "layer", False):
        model = rectified(fused)
        annotated = keras.models.clone_model(
            model, clone_function=lambda x: annotate(x) if x.name == "second" else x
        )
        applied = tfmot.quantization.keras.quantize_apply(annotated, scheme)
        quantized = quantize_model(model, scheme, layers="second")
        np.testing.assert_array_equal(applied(IMAGES), quantized(IMAGES))
        (found,) = quantized_activations(applied)
        assert (found.layer, found.code_range) == ("first" if fused else "relu", (0, 15))
        np.testing.assert_array_equal(applied(IMAGES), strip_quantization(applied)(IMAGES))


def test_the_summary_lists_quantized_activations():
    scheme = Scheme(UniformQuantizer(2), LsqActivationQuantizer(4))
    summary = quantization_summary(quantize_model(rectified(False), scheme), print_fn=None)
    (row,) = summary.activations
    assert (row.layer, row.bits, row.lower, row.upper) == ("relu", 4, 0, 15)
    assert str(summary).splitlines()[-1].split()[:5] == ["relu", "4", "0", "to", "15"]


@pytest.mark.parametrize("make", [LsqActivationQuantizer, PactQuantizer])
def test_settings_survive_serialisation(make):
    quantizer = make(5, signed=True)
    config = LayerQuantizeConfig(output=quantizer, gradient_bits=4)
    serialized = keras.utils.legacy.serialize_keras_object(config)
    copy = keras.utils.legacy.deserialize_keras_object(serialized)
    assert copy == config
    assert copy.output == quantizer
    assert quantizer.with_bits(3, signed=False) == make(3)
    for bits in (1, 9):
        with pytest.raises(ValueError, match="`bits` must be an integer from 2 to 8"):
            make(bits)
