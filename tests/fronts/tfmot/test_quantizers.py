import numpy as np
import pytest

from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import TernaryScheme, UniformScheme
from tfqkd.fronts.tfmot.configs import LayerQuantizeConfig
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels

layers = keras.layers


def ternary(weights, axes=None):
    """The closed form of the paper, by NumPy: sorted prefix sums, then nearest level."""
    result = np.empty_like(weights)
    for index in np.ndindex(*(weights.shape[a] for a in axes or ())):
        where = [slice(None)] * weights.ndim
        for axis, i in zip(axes or (), index, strict=True):
            where[axis] = i
        part = weights[tuple(where)]
        ordered = np.sort(np.abs(part), axis=None)[::-1].astype(np.float64)
        sums = np.cumsum(ordered)
        k = np.argmax(sums**2 / np.arange(1, len(sums) + 1)) + 1
        step = np.float32(sums[k - 1] / k)
        result[tuple(where)] = step * np.sign(part) * (np.abs(part) / step >= 0.5)
    return result


CASES = {
    "dense": (layers.Dense(6, name="inner"), (5,), (1,)),
    "conv1d": (layers.Conv1D(6, 3, name="inner"), (8, 4), (2,)),
    "conv2d": (layers.Conv2D(6, 3, name="inner"), (8, 8, 4), (3,)),
    "conv3d": (layers.Conv3D(6, 2, name="inner"), (4, 4, 4, 3), (4,)),
    "conv1d_transpose": (layers.Conv1DTranspose(6, 3, name="inner"), (8, 4), (1,)),
    "conv2d_transpose": (layers.Conv2DTranspose(6, 3, name="inner"), (8, 8, 4), (2,)),
    "conv3d_transpose": (layers.Conv3DTranspose(6, 2, name="inner"), (4, 4, 4, 3), (3,)),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2, name="inner"), (8, 8, 4), (2, 3)),
    "dilated": (layers.Conv2D(6, 3, dilation_rate=2, name="inner"), (8, 8, 4), (3,)),
    "grouped": (layers.Conv2D(6, 3, groups=2, name="inner"), (8, 8, 4), (3,)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_a_layer_computes_with_the_ternary_kernel_of_its_channels(case, granularity):
    template, shape, axes = CASES[case]
    layer = type(template).from_config(template.get_config())
    model = keras.Sequential([keras.Input(shape), layer])
    quantized = quantize_model(model, TernaryScheme(granularity), layers="inner")
    plain = keras.models.clone_model(model)
    kernel, *bias = model.get_weights()
    bias = [np.linspace(-1, 1, len(b)).astype(np.float32) for b in bias]
    quantized.set_weights(
        [
            w if w.shape != bias[0].shape or "step" in v.name else bias[0]
            for w, v in zip(quantized.get_weights(), quantized.weights, strict=True)
        ]
    )
    plain.set_weights([ternary(kernel, axes if granularity == "channel" else None), *bias])
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_allclose(quantized(images), plain(images), rtol=1e-5, atol=1e-5)


def test_settings_survive_serialisation_and_decide_equality():
    quantizer = UniformQuantizer(4, "channel", "every_step")
    config = LayerQuantizeConfig(quantizer)
    copy = keras.utils.deserialize_keras_object(keras.utils.serialize_keras_object(config))
    assert copy == config
    assert copy.weights.get_config() == {
        "bits": 4,
        "granularity": "channel",
        "step_update": "every_step",
    }
    assert copy != LayerQuantizeConfig(UniformQuantizer(4))
    assert quantizer.with_bits(2) == UniformQuantizer(2, "channel", "every_step")
    assert len({config, copy}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 1}, "`bits`"),
        ({"granularity": "layer"}, "`granularity` must be one of tensor, channel"),
        ({"step_update": "never"}, "`step_update` must be one of once, every_step"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        UniformQuantizer(**arguments)


@pytest.fixture
def annotated():
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="first"),
            annotate(layers.Conv2D(4, 3, name="second", activation="relu")),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            annotate(layers.Dense(3, name="last")),
        ]
    )


def test_quantize_apply_does_what_quantize_model_does(annotated):
    scheme = UniformScheme(3, "channel")
    applied = tfmot.quantization.keras.quantize_apply(annotated, scheme)
    plain = keras.models.clone_model(
        annotated, clone_function=lambda layer: getattr(layer, "layer", layer)
    )
    quantized = quantize_model(plain, scheme, layers=["second", "last"])
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(applied(images), quantized(images))
    wrapped = [layer.name for layer in applied.layers if layer.name.startswith("quant_")]
    assert wrapped == ["quant_second", "quant_last"]


@pytest.mark.parametrize(
    "layer",
    [layers.BatchNormalization(), layers.LayerNormalization(), layers.ReLU()],
    ids=lambda x: x.name,
)
def test_an_annotated_layer_without_a_kernel_is_refused(layer):
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    for config in (None, LayerQuantizeConfig(UniformQuantizer())):
        model = keras.Sequential([keras.Input((4, 4, 2)), annotate(layer, config)])
        with pytest.raises(ValueError, match=f"Received: {type(layer).__name__} '{layer.name}'"):
            tfmot.quantization.keras.quantize_apply(model, TernaryScheme())


def compiled(model, **arguments):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, **arguments)
    return model


def train(model, steps):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8 * steps, 8, 8, 1)).astype(np.float32)
    model.fit(images, rng.integers(0, 3, 8 * steps), batch_size=8, verbose=0, shuffle=False)


def three_layers():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="a"),
            layers.ReLU(),
            layers.Conv2D(4, 3, name="b"),
            layers.Flatten(),
            layers.Dense(3, name="c"),
        ]
    )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("bits", [2, 3])
def test_a_step_taken_once_stays_while_latent_weights_move(bits, jit_compile):
    quantized = quantize_model(three_layers(), UniformScheme(bits))
    (kernel,) = quantized_kernels(quantized)
    before, step = kernel.latent.numpy(), kernel.state["step"].numpy()
    train(compiled(quantized, jit_compile=jit_compile), steps=3)
    assert np.abs(kernel.latent.numpy() - before).max() > 1e-4
    np.testing.assert_array_equal(kernel.state["step"], step)
    codes = kernel.value().numpy() / step
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-5)
    assert np.abs(codes).max() <= 2 ** (bits - 1) - 1 + 1e-5


@pytest.mark.parametrize(
    "arguments", [{}, {"jit_compile": True}, {"steps_per_execution": 2}], ids=str
)
def test_a_step_taken_every_step_is_the_optimum_of_the_weights_before_the_last_update(arguments):
    quantized = quantize_model(three_layers(), TernaryScheme(step_update="every_step"))
    (kernel,) = quantized_kernels(quantized)
    train(compiled(quantized, **arguments), steps=2)
    latent = kernel.latent.numpy()
    train(quantized, steps=1)
    expected = np.abs(ternary(latent)).max()
    assert kernel.state["step"].numpy().item() == pytest.approx(expected, rel=1e-6)
    step = kernel.state["step"].numpy()
    quantized.evaluate(np.ones((2, 8, 8, 1), np.float32), np.zeros(2), verbose=0)
    np.testing.assert_array_equal(kernel.state["step"], step)


def test_regularisers_act_on_the_latent_weight():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name="d", kernel_regularizer=keras.regularizers.L2(0.5)),
        ]
    )
    quantized = quantize_model(model, layers="d")
    latent = model.layers[0].kernel.numpy()
    assert float(tf.add_n(quantized.losses)) == pytest.approx(0.5 * np.sum(latent**2), rel=1e-5)
