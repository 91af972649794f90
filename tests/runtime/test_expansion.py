import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tfqkd.compat import keras
from tfqkd.export import to_litert
from tfqkd.runtime.expansion import expand

_Type = schema.TensorType


def exported(kernel, path):
    """Returns the content of the exported file of a dense layer with this kernel."""
    dense = keras.layers.Dense(kernel.shape[1], use_bias=False)
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    dense.kernel.assign(kernel)
    to_litert(model, path / "a.tflite")
    return (path / "a.tflite").read_bytes()


def constants(content, type_):
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    read = {index for operator in graph.operators for index in operator.inputs}
    return [
        (tensor, model.buffers[tensor.buffer].data)
        for index, tensor in enumerate(graph.tensors)
        if tensor.type == type_ and index in read and model.buffers[tensor.buffer].data is not None
    ]


@pytest.mark.parametrize(("top", "narrow"), [(1, _Type.INT2), (7, _Type.INT4)])
def test_narrow_codes_become_int8_codes_with_the_same_scales(tmp_path, top, narrow):
    codes = np.random.default_rng(0).integers(-top, top + 1, (12, 3))
    codes[0] = 1
    content = exported(0.25 * codes, tmp_path)
    ((before, _),) = constants(content, narrow)
    ((after, data),) = constants(expand(content), _Type.INT8)
    np.testing.assert_array_equal(data.view(np.int8).reshape(3, 12), codes.T)
    np.testing.assert_array_equal(after.quantization.scale, np.full(3, 0.25, np.float32))
    np.testing.assert_array_equal(after.quantization.scale, before.quantization.scale)
    assert not constants(expand(content), narrow)


def test_two_planes_become_the_float_kernel(tmp_path):
    codes = np.random.default_rng(0).integers(-1, 2, (12, 3))
    kernel = (np.where(codes > 0, 0.3217, 0.1734) * codes).astype(np.float32)
    content = expand(exported(kernel, tmp_path))
    values = [
        data.view(np.float32)
        for tensor, data in constants(content, _Type.FLOAT32)
        if data.size > 12
    ]
    (value,) = [value for value in values if value.size == 36]
    np.testing.assert_array_equal(value.reshape(3, 12), kernel.T)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    kinds = {
        model.operatorCodes[operator.opcodeIndex].builtinCode
        for operator in model.subgraphs[0].operators
    }
    assert not {schema.BuiltinOperator.DEQUANTIZE, schema.BuiltinOperator.ADD} & kinds


def test_a_file_without_narrow_codes_is_returned_as_it_is(tmp_path):
    content = exported(np.random.default_rng(0).normal(size=(12, 3)), tmp_path)
    assert expand(content) is content
