import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.compat import tf
from tfqkd.core import ops
from tfqkd.core.ops import NUMPY, exactly, ops_of
from tfqkd.fronts.tfmot.ops import OPS

from .arrays import SEEDS, VALUES, upstream

POSITIVE = np.abs(upstream(1, (3, 4))) + 0.1
INDICES = np.array([[2, 0], [1, 1], [3, 2]])
CALLS = {
    "abs": [upstream(0, (3, 4))],
    "sign": [np.float32([-2, -0.0, 0, 3])],
    "floor": [upstream(0, (3, 4))],
    "round": [np.float32([-1.5, -0.5, 0.5, 1.5, 2.5, 0.3])],
    "tanh": [upstream(0, (3, 4))],
    "rsqrt": [POSITIVE],
    "clip": [upstream(0, (3, 4)), -1, 1],
    "minimum": [upstream(0, (3, 4)), 0.5],
    "maximum": [upstream(0, (3, 4)), POSITIVE],
    "divide_no_nan": [POSITIVE, np.float32([0, 1, 2, 0])],
    "logical_and": [POSITIVE > 1, POSITIVE > 0.5],
    "logical_or": [POSITIVE > 1, POSITIVE < 0.5],
    "equal": [INDICES, 1],
    "all": [POSITIVE > 0.5],
    "where": [POSITIVE > 1, POSITIVE, 0.0],
    "sum": [POSITIVE],
    "mean": [POSITIVE, 1],
    "max": [POSITIVE],
    "argmax": [POSITIVE, 1],
    "sort": [POSITIVE, 1],
    "cumsum": [POSITIVE, 1],
    "take_along_axis": [POSITIVE, INDICES, 1],
    "softmax": [upstream(0, (3, 4)), -1],
    "log_softmax": [upstream(0, (3, 4)), -1],
    "logsumexp": [30 * upstream(0, (3, 4)), -1],
    "sigmoid": [30 * upstream(0, (3, 4))],
    "categorical_crossentropy": [POSITIVE, 30 * upstream(0, (3, 4))],
    "binary_crossentropy": [POSITIVE, 30 * upstream(0, (3, 4))],
    "sqrt": [POSITIVE],
    "exp": [upstream(0, (3, 4))],
    "log": [POSITIVE],
    "convert_to_tensor": [0.25, "float32"],
    "cast": [INDICES, "float32"],
    "shape": [POSITIVE],
    "ndim": [POSITIVE],
    "size": [POSITIVE],
    "reshape": [POSITIVE, (-1, 2)],
    "transpose": [POSITIVE, (1, 0)],
    "stack": [[POSITIVE, POSITIVE]],
    "matmul": [POSITIVE, POSITIVE.T],
    "switch": [1, [lambda: 5, lambda: 7]],
    "stop_gradient": [POSITIVE],
}

KEYWORDS = {
    "sum": {"axis": (0,), "keepdims": True},
    "max": {"axis": (0, 1), "keepdims": True},
    "all": {"axis": -1},
    "categorical_crossentropy": {"from_logits": True},
    "binary_crossentropy": {"from_logits": True},
}


def test_all_functions_of_the_table_are_compared():
    named = {field.name for field in dataclasses.fields(NUMPY)}
    assert set(CALLS) | {"name", "accurate", "arange", "exactly"} == named


@pytest.mark.parametrize("name", CALLS)
def test_tensorflows_functions_are_numpys(name):
    arguments, keywords = CALLS[name], KEYWORDS.get(name, {})
    actual = getattr(OPS, name)(*arguments, **keywords)
    expected = getattr(NUMPY, name)(*arguments, **keywords)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert np.shape(actual) == np.shape(expected)


def test_a_range_has_the_dtype_that_was_asked_for():
    for table in (NUMPY, OPS):
        counted = table.arange(3, dtype="float64")
        np.testing.assert_array_equal(counted, [0, 1, 2])
        assert np.asarray(counted).dtype == np.float64


def test_what_is_unknown_of_a_shape_is_a_tensor():
    @tf.function(input_signature=[tf.TensorSpec([None, 3])], autograph=False)
    def sizes(x):
        rows, columns = OPS.shape(x)
        assert columns == 3
        return rows

    assert int(sizes(tf.zeros([5, 3]))) == 5


def test_a_shape_of_unknown_rank_is_a_tensor():
    @tf.function(input_signature=[tf.TensorSpec(None)], autograph=False)
    def like_all_but_the_last_axis(x):
        assert OPS.ndim(x) is None
        return OPS.reshape(tf.range(5), OPS.shape(x)[:-1])

    assert like_all_but_the_last_axis(tf.zeros([5, 3])).shape == (5,)


@pytest.mark.parametrize(
    "ops", [OPS, dataclasses.replace(OPS, exactly=None)], ids=["own", "composed"]
)
class TestExactly:
    @given(VALUES, SEEDS)
    def test_the_value_has_the_same_bits_also_of_a_negative_zero(self, ops, values, seed):
        values = np.where(values == 0, np.float32(-0.0), values)
        surrogate = upstream(seed, values.shape)
        for jit_compile in (None, False, True) if seed % 20 == 0 else (None,):
            function = lambda v, s: exactly(v, s, ops)  # noqa: E731
            if jit_compile is not None:
                function = tf.function(function, jit_compile=jit_compile, autograph=False)
            actual = function(tf.constant(values), tf.constant(surrogate)).numpy()
            assert actual.tobytes() == values.tobytes()
        assert exactly(values, surrogate, NUMPY).tobytes() == values.tobytes()

    @given(VALUES, SEEDS)
    def test_the_gradient_is_that_of_the_surrogate(self, ops, values, seed):
        value, surrogate = tf.constant(values), tf.constant(upstream(seed, values.shape))
        factor = upstream(seed + 1, values.shape)
        with tf.GradientTape() as tape:
            tape.watch([value, surrogate])
            result = exactly(2 * value, 3 * surrogate, ops)
        to_value, to_surrogate = tape.gradient(result, [value, surrogate], factor)
        assert to_value is None
        np.testing.assert_array_equal(to_surrogate, 3 * factor)


class TestOpsOf:
    def test_finds_the_table_by_the_tensor(self):
        assert ops_of(np.zeros(2)) is ops_of(np.float32(1)) is NUMPY
        assert ops_of(tf.zeros([2])) is ops_of(tf.Variable(1.0)) is OPS
        traced = []
        tf.function(lambda x: traced.append(ops_of(x)), autograph=False)(tf.zeros([2]))
        assert traced == [OPS]

    @pytest.mark.parametrize("other", [[1.0, 2.0], 1.0, None, "weights", st.floats()])
    def test_others_are_refused(self, other):
        with pytest.raises(TypeError, match=r"must be of one of numpy, tensorflow.*Received: <cl"):
            ops_of(other)


def test_the_core_imports_numpy_alone():
    modules = sorted(path.stem for path in pathlib.Path(ops.__file__).parent.glob("*.py"))
    script = "import sys\n" + "".join(f"import tfqkd.core.{name}\n" for name in modules)
    script += (
        "print({n.partition('.')[0] for n in sys.modules} & {'tensorflow', 'keras', 'tf_keras', "
    )
    script += "'tensorflow_model_optimization', 'jax', 'torch', 'scipy'})"
    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "set()"
