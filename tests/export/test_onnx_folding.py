"""What an ONNX graph makes of constants alone becomes a constant."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tfqkd.export.onnx_folding import fold_constants


def graph(nodes, constants):
    """A model from `images` [N, 3] to `logits`."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "M"])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )


def test_a_kernel_that_is_reshaped_becomes_a_constant_and_its_copy_goes():
    kernel = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    model = graph(
        [
            helper.make_node("Shape", ["copy"], ["sizes"]),
            helper.make_node("Gather", ["sizes", "one"], ["rows"]),
            helper.make_node("Concat", ["rows", "minus"], ["shape"], axis=0),
            helper.make_node("Reshape", ["kernel", "shape"], ["matrix"]),
            helper.make_node("MatMul", ["images", "matrix"], ["logits"]),
        ],
        {
            "copy": kernel[np.newaxis],
            "kernel": kernel,
            "one": np.array([1]),
            "minus": np.array([-1]),
        },
    )
    images = np.eye(3, dtype=np.float32)[:2]
    expected = ReferenceEvaluator(model).run(None, {"images": images})[0]
    fold_constants(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    (constant,) = model.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(constant), kernel.reshape(3, 4))
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(
        ReferenceEvaluator(model).run(None, {"images": images})[0], expected
    )
    np.testing.assert_array_equal(expected, kernel.reshape(3, 4)[:2])


def test_a_graph_without_such_operators_stays_as_it_is():
    model = graph(
        [helper.make_node("MatMul", ["images", "kernel"], ["logits"])],
        {"kernel": np.ones((3, 2), np.float32), "unread": np.ones(2, np.float32)},
    )
    before = model.SerializeToString()
    fold_constants(model)
    assert model.SerializeToString() == before
