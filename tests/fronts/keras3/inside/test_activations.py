"""Quantized activations: where they stand, how they start, train, strip and come back from a file."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.fronts.keras3.inside.nets import array, batch, cross_entropy, same_outputs, same_weights
from tfqkd import models
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.rounded_layers import ActivationBits, activation_layers
from tfqkd.core.schemes import DeployScheme, Scheme
from tfqkd.fronts import keras3
from tfqkd.fronts.keras3.cloning import leaves
from tfqkd.fronts.keras3.stripping import strip_weights
from tfqkd.fronts.keras3.wiring import wiring


def network():
    """ReLUs before, within and behind a model in the model, and a Sequential head."""
    inside = keras.Input((4, 4, 3), name="inside")
    x = layers.Conv2D(3, 1, name="conv")(inside)
    x = layers.MaxPooling2D(2, name="pool")(layers.ReLU(name="relu")(x))
    base = keras.Model(inside, x, name="base")
    inputs = keras.Input((4, 4, 2), name="images")
    x = layers.Conv2D(3, 1, activation="relu", name="first")(inputs)
    x = layers.Flatten(name="flat")(base(x))
    head = keras.Sequential(
        [keras.Input((12,)), layers.Dense(4, name="signed"), layers.Dense(4, name="hidden")],
        name="head",
    )
    return keras.Model(inputs, layers.Dense(3, name="logits")(head(x)), name="network")


@pytest.fixture(
    scope="module",
    params=[LsqActivationQuantizer(4), pytest.param(PactQuantizer(3), marks=pytest.mark.slow)],
    ids=["lsq", "pact"],
)
def trained(request):
    keras.utils.set_random_seed(4)
    scheme = Scheme(UniformQuantizer(2), request.param)
    quantized = keras3.quantize_model(network(), scheme, layers=".*")
    inputs, labels = batch(8, (4, 4, 2))
    keras3.calibrate_activations(quantized, [inputs[:4], inputs[4:]])
    first = {found.layer: found.step for found in keras3.quantized_activations(quantized)}
    quantized.compile(keras.optimizers.SGD(0.05), cross_entropy())
    quantized.fit(inputs, labels, batch_size=4, verbose=0)
    return quantized, first, inputs


def test_they_stand_behind_the_layers_that_make_them(trained):
    found = {each.layer: each.code_range for each in keras3.quantized_activations(trained[0])}
    assert list(found) == ["first", "base/relu", "head/signed", "head/hidden"]
    signed = {name: codes[0] < 0 for name, codes in found.items()}
    assert signed == {"first": False, "base/relu": False, "head/signed": True, "head/hidden": True}


def test_what_adds_the_models_input_can_be_negative():
    inputs = keras.Input((4,))
    x = layers.Add(name="sum")([inputs, layers.Dense(4, activation="relu", name="a")(inputs)])
    model = keras.Model(inputs, layers.Dense(3, name="reader")(x))
    rounded = activation_layers(wiring(model), {"reader": 4})
    assert rounded == {"sum": ActivationBits(4, signed=True)}


def test_steps_start_from_data():
    quantized = keras3.quantize_model(
        network(), Scheme(UniformQuantizer(2), PactQuantizer(8)), ".*"
    )
    inputs, _ = batch(8, (4, 4, 2))
    keras3.calibrate_activations(quantized, inputs)
    (found, *_) = keras3.quantized_activations(quantized)
    kernel = next(k for k in keras3.quantized_kernels(quantized) if k.layer == "first")
    expected = (inputs @ array(kernel.value())[0, 0]).max()
    np.testing.assert_allclose(found.step * 255, expected, rtol=1e-5)


def test_scales_train_with_the_weights(trained):
    quantized, first, _ = trained
    steps = {found.layer: found.step for found in keras3.quantized_activations(quantized)}
    assert all(steps[name] != first[name] for name in first)
    summary = keras3.quantization_summary(quantized, print_fn=None)
    assert [(row.layer, row.step) for row in summary.activations] == list(steps.items())


def test_outputs_are_codes_times_the_step(trained):
    quantized, _, inputs = trained
    found = next(keras3.quantized_activations(quantized))
    part = keras.Model(quantized.inputs, quantized.get_layer("first").output)
    codes = array(part(inputs)) / found.step
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    assert codes.min() >= 0 and codes.max() <= found.code_range[1] + 1e-4


def test_a_penalty_counts_once(trained):
    quantized, _, inputs = trained
    quantized(inputs)
    found = list(keras3.quantized_activations(quantized))
    penalties = [each.quantizer.penalty(array(each.learned.value)) for each in found]
    expected = sum(float(penalty) for penalty in penalties if penalty is not None)
    assert float(sum(quantized.losses)) == pytest.approx(expected, rel=1e-5)


def test_the_stripped_model_keeps_them(trained, tmp_path):
    quantized, _, inputs = trained
    stripped = keras3.strip_quantization(quantized)
    same_outputs(quantized, stripped, inputs)
    assert stripped.get_layer("base").get_layer("relu_quantization").step > 0
    assert stripped.get_layer("head").get_layer("hidden_quantization").lower < 0
    stripped.save(tmp_path / "stripped.keras")
    loaded = keras.models.load_model(tmp_path / "stripped.keras")
    np.testing.assert_array_equal(array(loaded(inputs)), array(stripped(inputs)))
    quantized.save(tmp_path / "quantized.keras")
    same_weights(quantized, keras.models.load_model(tmp_path / "quantized.keras"))


def test_fixed_roundings_of_a_stripped_model_give_way_to_steps_that_train(trained):
    quantized, _, inputs = trained
    stripped = keras3.strip_quantization(quantized)
    again = keras3.quantize_model(stripped, Scheme(UniformQuantizer(2), PactQuantizer(8)), ".*")
    plain, expected = strip_weights(again), strip_weights(quantized)
    assert [n for n, _ in leaves(plain)] == [n for n, _ in leaves(expected)]
    found, wanted = array(plain(inputs)), array(expected(inputs))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"nothing before them.*layer '.*_quantization'"):
        keras3.quantize_model(stripped)


def test_an_operation_that_is_no_layer_is_refused():
    inputs = keras.Input((6,))
    x = keras.ops.relu(layers.Dense(4, name="a")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="b")(x))
    with pytest.raises(ValueError, match="input of 'b' from the operation"):
        keras3.quantize_model(model, Scheme(UniformQuantizer(2), LsqActivationQuantizer(4)), ".*")


@pytest.mark.slow
def test_a_scheme_of_integers_rounds_all_that_an_integer_file_holds():
    model = models.build(
        "resnet8", (8, 8, 3), 4, mean=[120.0, 130.0, 110.0], std=[60.0] * 3, keras=keras
    )
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3)).astype("float32")
    quantized = keras3.quantize_model(model, DeployScheme())
    keras3.calibrate_activations(quantized, [images])
    bits = {each.layer: each.quantizer.bits for each in keras3.quantized_kernels(quantized)}
    assert {layer for layer, width in bits.items() if width == 8} == {"stem_conv", "logits"}
    assert set(bits.values()) == {2, 8}
    # The image, what each convolution and addition reads, what the pooling reads and makes, and the logits.
    found = {each.layer: each.code_range for each in keras3.quantized_activations(quantized)}
    signed = {layer for layer, codes in found.items() if codes == (-128, 127)}
    assert signed == {
        "standardization",
        "stage1_block1_bn2",
        "stage2_block1_bn2",
        "stage2_block1_projection_bn",
        "stage3_block1_bn2",
        "stage3_block1_projection_bn",
        "logits",
    }
    assert {layer for layer, codes in found.items() if codes == (0, 255)} == {
        "stem_relu",
        "stage1_block1_relu1",
        "stage1_block1_relu2",
        "stage2_block1_relu1",
        "stage2_block1_relu2",
        "stage3_block1_relu1",
        "stage3_block1_relu2",
        "pool",
    }
