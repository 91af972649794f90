"""What a stock interpreter computes of an integer file, against exact integer arithmetic and Keras."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfqkd.export import tflite
from tfqkd.export.integer.graph import LOWEST, Kind
from tfqkd.export.integer.litert import to_model

from . import networks, reference

KERNELS = {
    "built in": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "XNNPACK": OpResolverType.AUTO,
}
_Operator = tflite.schema.BuiltinOperator


def file_of(graph, input_type="float32", output_type="int8", **options):
    return tflite.write(to_model(graph, "logits", input_type, output_type, **options))


def computed(content, images, kernels="XNNPACK"):
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=KERNELS[kernels], num_threads=1
    )
    serve = interpreter.get_signature_runner()
    given = {
        np.float32: lambda: images.astype(np.float32),
        np.uint8: lambda: images,
        np.int8: lambda: (images.astype(int) - 128).astype(np.int8),
    }[serve.get_input_details()["images"]["dtype"]]
    return serve(images=given())["logits"]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", networks.BUILDERS)
def test_outputs_are_within_one_step_of_exact_integer_arithmetic(name, kernels):
    graph, images = networks.graph(name), networks.pixels(32, seed=5)
    expected = reference.run(graph, images)[-1]
    assert expected.std() > 5
    received = computed(file_of(graph), images, kernels).astype(int)
    assert np.abs(received - expected).max() <= 1
    assert (received == expected).mean() > (0.75 if kernels == "built in" else 0.9)


@pytest.mark.parametrize("name", networks.BUILDERS)
def test_every_tensor_is_within_one_step_of_exact_integer_arithmetic_on_what_it_is_made_from(name):
    graph, images = networks.graph(name), networks.pixels(8, seed=6)
    interpreter = Interpreter(
        model_content=file_of(graph, "uint8"), experimental_preserve_all_tensors=True
    )
    interpreter.resize_tensor_input(0, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, images)
    interpreter.invoke()
    names = {entry["name"]: entry["index"] for entry in interpreter.get_tensor_details()}
    names[graph.tensors[-1].layer] = names["logits"]
    if graph.image.is_pixel:
        names[graph.tensors[0].layer] = names["images/int8"]
    received = {
        index: interpreter.get_tensor(names[tensor.layer]).astype(int)
        for index, tensor in enumerate(graph.tensors)
    }
    for codes, expected in zip(
        received.values(), reference.run(graph, images, received), strict=True
    ):
        assert codes.shape == expected.shape
        assert np.abs(codes - expected).max() <= 1
        assert (codes == expected).mean() > 0.99


@pytest.mark.parametrize("name", networks.BUILDERS)
def test_exact_integer_arithmetic_is_the_keras_model_but_for_ties(name):
    graph, images = networks.graph(name), networks.pixels(32, seed=7)
    outputs = networks.stripped(name)(images.astype(np.float32)).numpy()
    codes = outputs / graph.tensors[-1].scale + graph.tensors[-1].zero_point
    received = reference.run(graph, images)[-1]
    assert np.abs(received - codes).max() <= 2
    assert np.abs(received - codes).mean() < 0.2


@pytest.mark.parametrize("name", networks.BUILDERS)
def test_files_of_all_input_and_output_types_compute_the_same(name):
    graph, images = networks.graph(name), networks.pixels(16, seed=8)
    codes = {each: computed(file_of(graph, each), images) for each in ("float32", "uint8", "int8")}
    for each in ("float32", "uint8"):
        np.testing.assert_array_equal(codes[each], codes["int8"])
    last = graph.tensors[-1]
    floats = computed(file_of(graph, "int8", "float32"), images)
    steps = codes["int8"].astype(np.float32) - last.zero_point
    np.testing.assert_allclose(floats, steps * last.scale, rtol=1e-6)


def operators(content):
    file = tflite.read(content)
    (graph,) = file.subgraphs
    return [file.operatorCodes[each.opcodeIndex].builtinCode for each in graph.operators]


def test_integers_alone_are_computed_with():
    for name in networks.BUILDERS:
        file = tflite.read(file_of(networks.graph(name), "int8"))
        types = {tensor.type for tensor in file.subgraphs[0].tensors}
        kinds = tflite.schema.TensorType
        assert types == {kinds.INT8, kinds.INT32}
        assert _Operator.QUANTIZE not in operators(file_of(networks.graph(name), "int8"))


def test_standardisation_is_an_operator_behind_the_input_but_where_pixels_are_the_codes():
    apart = operators(file_of(networks.graph("residual"), "int8"))
    side_by_side = [_Operator.RESHAPE, _Operator.CONV_2D, _Operator.RESHAPE]
    assert apart[:4] == [*side_by_side, _Operator.CONV_2D]
    assert len(apart) == 3 + len(networks.graph("residual").operations)
    assert len(operators(file_of(networks.graph("raw"), "int8"))) == 4

    # (pixel − 128)/128 with a step of 1/128: a pixel's code is itself less 128.
    layers = networks.layers
    inputs = networks.keras.Input(networks.SHAPE)
    x = layers.Rescaling(1 / 128, -1.0, name="rescaling")(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    quantized = networks.quantized(networks.keras.Model(inputs, x))
    for found in networks.tfqkd.quantized_activations(quantized):
        if found.layer == "rescaling":
            found.learned.assign(1 / 128)
    folded = networks.read_graph(networks.tfqkd.strip_quantization(quantized))
    assert folded.image.is_pixel
    assert len(operators(file_of(folded, "int8"))) == len(folded.operations)
    made = operators(file_of(folded, "uint8"))
    assert made[:2] == [_Operator.DEQUANTIZE, _Operator.QUANTIZE]
    assert len(made) == 2 + len(folded.operations)
    images = networks.pixels(16)
    expected = reference.run(folded, images)
    np.testing.assert_array_equal(expected[0], images.astype(int) - 128)
    for input_type in ("float32", "uint8", "int8"):
        received = computed(file_of(folded, input_type), images)
        assert np.abs(received.astype(int) - expected[-1]).max() <= 1


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", ["plain", "residual"])
def test_pixels_side_by_side_are_standardized_as_one_by_one_to_the_bit(name, kernels):
    graph, images = networks.graph(name), networks.pixels(16, seed=9)
    alone = file_of(graph, "int8", lanes=1)
    assert operators(alone)[0] == _Operator.CONV_2D
    assert len(operators(alone)) == 1 + len(graph.operations)
    # Of 13 x 12 pixels of 3 channels, the most that fit and divide them evenly.
    for lanes, count in ((16, 4), (11, 3), (40, 13)):
        content = file_of(graph, "int8", lanes=lanes)
        rows = tflite.read(content).subgraphs[0].tensors[1].shape
        assert list(rows) == [1, 1, 156 // count, 3 * count]
        np.testing.assert_array_equal(
            computed(content, images, kernels), computed(alone, images, kernels)
        )


def test_ternary_codes_are_multiplied_by_one_power_of_two_which_their_scales_are_divided_by():
    graph = networks.graph("residual")
    (operation,) = [each for each in graph.operations if each.layer == "second8"]
    assert operation.kernel.factor == 64
    assert set(np.unique(operation.kernel.stored)) == {-64, 0, 64}
    model = networks.stripped("residual")
    layer = model.get_layer("second8")
    following = [each for each in model.layers if each.name.startswith("batch_normalization")]
    norm = following[2]
    gamma, beta, mean, variance = (weight.astype(float) for weight in norm.get_weights())
    gain = gamma / np.sqrt(variance + norm.epsilon)
    folded = layer.kernel.numpy().astype(float) * gain
    held = np.moveaxis(
        operation.kernel.stored * operation.kernel.scales[:, None, None, None], 0, -1
    )
    alive = ~np.isin(np.arange(8), [networks.DEAD, networks.FADED])
    np.testing.assert_allclose(held[..., alive], folded[..., alive], rtol=1e-6)
    assert not held[..., ~alive].any()
    units = operation.kernel.scales.astype(float) * graph.tensors[operation.inputs[0]].scale
    bias = beta + (layer.bias.numpy() - mean) * gain
    np.testing.assert_allclose(operation.kernel.bias * units, bias, rtol=0, atol=0.51 * units.max())


def test_tensors_have_the_trained_steps():
    model = networks.stripped("inverted")
    steps = {
        each.name.removesuffix("_quantization"): (
            np.float32(each.step),
            0 if each.lower else LOWEST,
        )
        for each in model.layers
        if hasattr(each, "step")
    }
    file = tflite.read(file_of(networks.graph("inverted")))
    found = {tensor.name.decode(): tensor.quantization for tensor in file.subgraphs[0].tensors}
    found["head"] = found["logits"]
    for layer, (step, zero_point) in steps.items():
        assert found[layer].scale.tolist() == [step]
        assert found[layer].zeroPoint.tolist() == [zero_point]
    kinds = [operation.kind for operation in networks.graph("inverted").operations]
    assert kinds.count(Kind.DEPTHWISE) == 2
