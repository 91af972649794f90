import os
import pathlib
import subprocess
import sys

import keras as keras3
import numpy as np
import pytest

from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.policy import Bits
from tfqkd.core.schemes import TernaryScheme, UniformScheme
from tfqkd.fronts.tfmot.cloning import plain_layer
from tfqkd.fronts.tfmot.model import is_quantized, quantize_model, quantized_kernels
from tfqkd.fronts.tfmot.policy import choose_bits
from tfqkd.fronts.tfmot.stripping import strip_quantization
from tfqkd.fronts.tfmot.summary import quantization_summary

ROOT = pathlib.Path(__file__).resolve().parents[2]
layers = keras.layers


def residual():
    """Two branches of one input, a residual sum, batch norm with statistics of its own, biases."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(inputs)
    y = layers.BatchNormalization(name="norm", dtype="float32")(x)
    y = layers.ReLU()(y)
    y = layers.Conv2D(6, 3, padding="same", name="middle")(y)
    z = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Add()([x, y, z])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5, name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(4, name="head", dtype="float32")(x))
    rng = np.random.default_rng(2)
    model.set_weights(
        [rng.normal(size=w.shape).astype(np.float32) ** 2 for w in model.get_weights()]
    )
    return model


@pytest.fixture(scope="module")
def residual_model():
    """For tests that only look at it."""
    return residual()


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def policy(request):
    keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"], indirect=True)
@pytest.mark.parametrize(
    "scheme", [TernaryScheme(), TernaryScheme("channel", "every_step"), UniformScheme(4, "channel")]
)
def test_the_stripped_model_computes_the_same_bits(policy, scheme, images):
    quantized = quantize_model(residual(), scheme, layers=".*")
    stripped = strip_quantization(quantized)
    np.testing.assert_array_equal(quantized(images), stripped(images))
    assert not is_quantized(stripped)
    assert [layer.name for layer in stripped.layers] == [layer.name for layer in quantized.layers]
    for kernel in quantized_kernels(quantized):
        latent, step = kernel.latent.numpy(), kernel.state["step"].numpy()
        codes = kernel.value().numpy() / step
        assert np.abs(codes - np.round(codes)).max() < 1e-5
        assert np.abs(kernel.value().numpy() - latent).max() > 1e-3


def test_the_model_of_the_user_stays_as_it_was(images):
    model = residual()
    weights, outputs = model.get_weights(), model(images).numpy()
    nodes = [len(layer.inbound_nodes) for layer in model.layers]
    quantize_model(model)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(model(images), outputs)
    assert [len(layer.inbound_nodes) for layer in model.layers] == nodes


def test_only_the_chosen_layers_are_wrapped():
    model = residual()
    quantized = quantize_model(model)
    wrapped = {layer.name for layer in quantized.layers if plain_layer(layer) is not layer}
    assert wrapped == {"depthwise", "middle", "hidden"}
    assert [layer.name for layer in quantized.layers] == [layer.name for layer in model.layers]


def test_a_wrapped_model_survives_h5_saved_model_and_checkpoint(images, tmp_path):
    quantized = quantize_model(residual(), UniformScheme(3, "channel"))
    expected = quantized(images).numpy()
    quantized.save(tmp_path / "model.h5")
    with tfmot.quantization.keras.quantize_scope():
        loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_array_equal(loaded(images), expected)
    np.testing.assert_array_equal(strip_quantization(loaded)(images), expected)

    quantized.save(tmp_path / "saved", save_format="tf")
    np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path / "saved"))(images), expected)

    path = tf.train.Checkpoint(model=quantized).save(tmp_path / "checkpoint")
    other = quantize_model(residual(), UniformScheme(3, "channel"))
    for weight in other.weights:
        weight.assign(tf.zeros_like(weight))
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other(images), expected)


@pytest.mark.slow
def test_a_stripped_model_loads_where_neither_tfqkd_nor_tfmot_can_be_imported(images, tmp_path):
    quantized = quantize_model(residual())
    stripped = strip_quantization(quantized)
    stripped.save(tmp_path / "student.keras")
    stripped.save(tmp_path / "student")
    np.save(tmp_path / "images.npy", images)
    script = """
import sys
sys.modules["tfqkd"] = sys.modules["tensorflow_model_optimization"] = None
import numpy as np, tf_keras
images = np.load("images.npy")
for name in ("student.keras", "student"):
    model = tf_keras.models.load_model(name, compile=False)
    np.save(name + ".npy", model(images))
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env=dict(os.environ))
    for name in ("student.keras", "student"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), quantized(images))


def small_mobilenet():
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=4)


def vgg():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            *(layers.Conv2D(4, 3, activation="relu", name=f"conv{i}") for i in range(3)),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(4),
        ]
    )


def one_dimensional():
    inputs = keras.Input((16, 3))
    x = layers.Conv1D(4, 3, name="first")(inputs)
    x = layers.Conv1D(4, 3, name="second", padding="causal", activation="relu")(x)
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))


@pytest.mark.parametrize(
    "make", [pytest.param(small_mobilenet, marks=pytest.mark.slow), vgg, one_dimensional]
)
def test_models_of_other_kinds_train_and_strip_exactly(make):
    keras.utils.set_random_seed(0)
    quantized = quantize_model(make())
    (kernel, *_) = quantized_kernels(quantized)
    before = kernel.latent.numpy()
    batch = np.random.default_rng(0).normal(size=(4, *quantized.input_shape[1:])).astype(np.float32)
    quantized.compile("sgd", keras.losses.SparseCategoricalCrossentropy(), run_eagerly=True)
    quantized.fit(batch, np.arange(4), verbose=0)
    assert np.abs(kernel.latent.numpy() - before).max() > 0
    np.testing.assert_array_equal(quantized(batch), strip_quantization(quantized)(batch))


@pytest.mark.parametrize("how", ["called", "built", "first layer"])
def test_a_sequential_model_may_have_its_input_from_a_batch(how, tmp_path):
    keras.utils.set_random_seed(0)
    first = {"input_shape": (6, 6, 2)} if how == "first layer" else {}
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, name="stem", **first),
            layers.Conv2D(4, 3, name="middle"),
            layers.Flatten(),
            layers.Dense(3, name="head"),
        ]
    )
    batch = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype(np.float32)
    if how == "called":
        model(batch[:2])
    elif how == "built":
        model.build((None, 6, 6, 2))
    quantized = quantize_model(model)
    stripped = strip_quantization(quantized)
    assert quantized.input_shape == stripped.input_shape == (None, 6, 6, 2)
    # What the model computes with the middle kernel rounded by hand.
    kernel = model.get_layer("middle").kernel
    sizes = np.sort(np.abs(kernel.numpy()).ravel())[::-1].astype(np.float64)
    means = np.cumsum(sizes) / np.arange(1, sizes.size + 1)
    step = means[np.argmax(means * np.cumsum(sizes))]
    rounded = np.sign(kernel) * step * np.minimum(np.floor(np.abs(kernel) / step + 0.5), 1)
    before = kernel.numpy()
    np.testing.assert_array_equal(strip_quantization(model)(batch), model(batch))
    kernel.assign(rounded)
    np.testing.assert_allclose(quantized(batch), model(batch), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(quantized(batch), stripped(batch))
    (latent,) = [kernel.latent for kernel in quantized_kernels(quantized)]
    np.testing.assert_array_equal(latent, before)


def test_a_layer_that_is_used_twice_is_quantized_once():
    inputs = keras.Input((6,))
    shared = layers.Dense(6, name="shared")
    model = keras.Model(inputs, layers.Dense(2)(shared(layers.Dense(6)(shared(inputs)))))
    quantized = quantize_model(model, layers="shared")
    batch = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    assert len(list(quantized_kernels(quantized))) == 1
    stripped = strip_quantization(quantized)
    np.testing.assert_array_equal(quantized(batch), stripped(batch))
    assert len(stripped.layers) == len(model.layers)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (Subclassed, ValueError, "must be Functional or Sequential.*Received: Subclassed"),
        (lambda: keras.Sequential([layers.Dense(2)]), ValueError, "must be built"),
        (lambda: quantize_model(residual()), ValueError, "must be float"),
        (
            lambda: keras3.Sequential([keras3.Input((4,)), keras3.layers.Dense(2)]),
            TypeError,
            "tf_keras model.*Keras 3",
        ),
        (lambda: "model", TypeError, "tf_keras model"),
    ],
)
def test_models_that_cannot_be_quantized_are_refused_with_advice(make, error, message):
    with pytest.raises(error, match=message):
        quantize_model(make())


@pytest.mark.parametrize(
    "scheme", [TernaryScheme, 2, tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme()]
)
def test_only_an_instance_of_a_scheme_of_tfqkd_is_taken(scheme):
    with pytest.raises(
        TypeError, match=r"`scheme` must be a tfqkd scheme.*e\.g\. tfqkd\.TernaryScheme\(\)"
    ):
        quantize_model(vgg(), scheme)


def test_a_float_model_is_stripped_to_a_copy(images):
    model = residual()
    stripped = strip_quantization(model)
    np.testing.assert_array_equal(stripped(images), model(images))
    stripped.set_weights([0 * weight for weight in model.get_weights()])
    assert np.abs(model(images)).min() > 0


def test_an_adapted_normalization_keeps_what_it_learned():
    data = np.random.default_rng(0).normal(5, 3, (50, 4)).astype(np.float32)
    norm = layers.Normalization(name="normalization")
    norm.adapt(data)
    inner = keras.Sequential([keras.Input((4,)), norm, layers.Dense(4)], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(4), layers.Dense(2)])
    np.testing.assert_array_equal(strip_quantization(model)(data), model(data))
    quantized = quantize_model(model)
    np.testing.assert_allclose(
        quantized.get_layer("inner/normalization").mean, data.mean(0)[None], rtol=1e-5
    )
    np.testing.assert_array_equal(strip_quantization(quantized)(data), quantized(data))


def test_what_another_scheme_quantized_cannot_be_stripped():
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    annotated = keras.Sequential([keras.Input((4,)), annotate(layers.Dense(3, name="dense"))])
    quantized = tfmot.quantization.keras.quantize_apply(annotated)
    with pytest.raises(ValueError, match=r"Received: 'quant_dense' with .*Default8Bit"):
        strip_quantization(quantized)


def test_training_keeps_weights_within_constraints_of_the_latent_weight():
    dense = layers.Dense(3, kernel_initializer="ones", kernel_constraint="non_neg")
    model = keras.Sequential([keras.Input((4,)), dense])
    quantized = quantize_model(model, layers=".*")
    quantized.compile(keras.optimizers.SGD(10.0), "mse")
    quantized.fit(np.ones((8, 4)), -np.ones((8, 3)), verbose=0)
    (kernel,) = quantized_kernels(quantized)
    # The step towards -1 is long enough to leave every weight far below zero.
    np.testing.assert_array_equal(kernel.latent, np.zeros((4, 3)))


def with_an_operation():
    inputs = keras.Input((6,))
    x = layers.Dense(6, name="a")(inputs)
    x = tf.nn.relu(layers.Dense(6, name="b")(x) + 1.0)
    return keras.Model(inputs, layers.Dense(2, name="c")(x))


def test_a_model_with_tensorflow_operations_strips_exactly():
    batch = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    quantized = quantize_model(with_an_operation())
    np.testing.assert_array_equal(quantized(batch), strip_quantization(quantized)(batch))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, {"middle": 2, "depthwise": 2, "hidden": 2}),
        ("stem|head", {"stem": 2, "head": 2}),
        (["middle", "head"], {"middle": 2, "head": 2}),
        (lambda layer: "d" in layer.name, {"middle": 2, "depthwise": 2, "hidden": 2, "head": 2}),
        (lambda layer: {"stem": 5, "head": True}.get(layer.name), {"stem": 5, "head": 2}),
        (lambda layer: np.bool_("h" in layer.name), {"depthwise": 2, "hidden": 2, "head": 2}),
        (lambda layer: np.int64(3) if layer.name == "stem" else None, {"stem": 3}),
        (
            {"mid.*": 4, ("stem", "head"): 8},
            {"middle": 4, "stem": 8, "head": 8, "depthwise": 2, "hidden": 2},
        ),
        ({layers.Dense: 3, "hidden": 7}, {"hidden": 3, "head": 3, "middle": 2, "depthwise": 2}),
        ({"middle": None, "m.*": 4}, {"depthwise": 2, "hidden": 2}),
        (
            {lambda layer: layer.name == "stem": 6},
            {"stem": 6, "middle": 2, "depthwise": 2, "hidden": 2},
        ),
    ],
)
def test_a_policy_chooses_layers_and_bits(residual_model, policy, expected):
    chosen = choose_bits(residual_model, policy, default=Bits(2))
    assert chosen == {name: Bits(bits) for name, bits in expected.items()}


def test_a_layer_has_the_bits_that_the_policy_chose():
    quantized = quantize_model(vgg(), UniformScheme(3), {"conv0": 2, "conv.*": 5})
    bits = {kernel.layer: kernel.quantizer.bits for kernel in quantized_kernels(quantized)}
    dense = quantized.layers[-2].layer.name
    assert bits == {"conv0": 2, "conv1": 5, "conv2": 5, dense: 3}
    for kernel in quantized_kernels(quantized):
        levels = np.unique(kernel.value())
        assert len(levels) <= 2**kernel.quantizer.bits - 1


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("nothing_like_it", "must name layers of the model"),
        (["stem", "norm"], "must name layers of the model"),
        ("(", "must be a regular expression"),
        ({"stem": 1}, "`bits` must be an integer from 2 to 8"),
        (lambda layer: False, "must quantize at least one layer"),
        (lambda layer: 9, "`bits` must be an integer from 2 to 8"),
        (layers.Conv1D, "must quantize at least one layer"),
        ({".*": None}, "must quantize at least one layer"),
        (4, "must be a regular expression, names, a layer class or a callable.*Received: 4"),
        ({3: 4}, "must be a regular expression, names, a layer class or a callable.*Received: 3"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(residual_model, policy, message):
    with pytest.raises(ValueError, match=message):
        quantize_model(residual_model, layers=policy)


def test_the_summary_tells_what_numpy_measures(capsys):
    model = residual()
    quantized = quantize_model(model, UniformScheme(2, "channel"))
    summary = quantization_summary(quantized)
    printed = capsys.readouterr().out
    rows = {row.layer: row for row in summary.layers}
    assert set(rows) == {"stem", "middle", "depthwise", "hidden", "head"}
    latent = model.get_layer("middle").kernel.numpy()
    value = next(k for k in quantized_kernels(quantized) if k.layer == "middle").value().numpy()
    row = rows["middle"]
    assert row.bits == 2
    assert row.shape == (3, 3, 6, 6)
    assert row.zeros == np.mean(value == 0)
    assert row.error == pytest.approx(np.linalg.norm(latent - value) / np.linalg.norm(latent))
    assert row.step == pytest.approx(np.abs(value).max(axis=(0, 1, 2)).mean(), rel=1e-6)
    assert (row.float_bytes, row.packed_bytes) == (4 * 324, 324 * 2 // 8 + 4 * 6)
    assert rows["stem"].step is None
    assert rows["stem"].packed_bytes == rows["stem"].float_bytes == 4 * 162
    assert summary.float_bytes == 4 * sum(w.size for w in model.get_weights())
    assert "Left float: stem, head" in printed
    assert f"{summary.packed_bytes:,}" in printed
