import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from tfqkd.compat import tf
from tfqkd.distillation import losses

from . import reference

KINDS = st.sampled_from(["cross_entropy", "kl"])
TEMPERATURES = st.floats(0.25, 32)
few = settings(max_examples=50)


@st.composite
def logit_pairs(draw, largest=50.0):
    elements = st.floats(-largest, largest, width=32, allow_subnormal=False)
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
    arrays = hnp.arrays(np.float32, (*shape, draw(st.integers(2, 6))), elements=elements)
    teacher = draw(arrays)
    return teacher, draw(hnp.arrays(np.float32, teacher.shape, elements=elements))


def value_and_gradients(teacher, student, *args):
    teacher, student = tf.constant(teacher), tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch([teacher, student])
        value = losses.soft_loss(teacher, student, *args)
    return value, tape.gradient(value, [teacher, student])


@few
@given(logit_pairs(), TEMPERATURES, KINDS, st.booleans())
def test_value_and_gradient_equal_the_closed_form(pair, temperature, kind, scaled):
    teacher, student = pair
    value, gradients = value_and_gradients(teacher, student, temperature, kind, scaled)
    assert value.shape == teacher.shape[:-1]
    factor = temperature**2 if scaled else 1
    np.testing.assert_allclose(
        value,
        reference.soft_loss(teacher, student, temperature, kind, scaled),
        rtol=1e-4,
        atol=1e-5 * factor * (1 + 100 / temperature),  # Terms of up to 100/T cancel in float32.
    )
    np.testing.assert_allclose(
        gradients[1],
        reference.soft_gradient(teacher, student, temperature, scaled),
        rtol=1e-4,
        atol=1e-5 * factor / temperature,
    )
    assert gradients[0] is None


def test_the_default_is_cross_entropy_times_the_squared_temperature():
    teacher, student = np.float32([[2.0, 0.0, -1.0]]), np.float32([[0.0, 1.0, 0.5]])
    np.testing.assert_allclose(
        losses.soft_loss(teacher, student, 3.0),
        9 * reference.soft_loss(teacher, student, 3.0, "cross_entropy", scaled=False),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        losses.soft_loss(teacher, student), reference.soft_loss(teacher, student, 1.0), rtol=1e-6
    )


@few
@given(logit_pairs(largest=10), TEMPERATURES)
def test_cross_entropy_exceeds_kl_by_the_entropy_of_the_teacher(pair, temperature):
    teacher, student = pair
    cross_entropy = losses.soft_loss(teacher, student, temperature, "cross_entropy", False)
    divergence = losses.soft_loss(teacher, student, temperature, "kl", False)
    expected = reference.entropy(softmax(np.float64(teacher) / temperature, axis=-1))
    np.testing.assert_allclose(cross_entropy - divergence, expected, rtol=1e-4, atol=1e-4)


@few
@given(logit_pairs(), TEMPERATURES, st.floats(-20, 20, width=32))
def test_a_student_that_matches_has_no_divergence_and_no_gradient(pair, temperature, shift):
    teacher = pair[0]
    value, gradients = value_and_gradients(teacher, teacher + np.float32(shift), temperature, "kl")
    tolerance = 1e-5 * (1 + 100 / temperature) * temperature**2
    np.testing.assert_allclose(value, 0, atol=tolerance)
    np.testing.assert_allclose(gradients[1], 0, atol=tolerance)


@pytest.mark.parametrize("kind", ["cross_entropy", "kl"])
def test_scaled_gradient_of_a_high_temperature_is_the_difference_of_logits(kind):
    """arXiv 1503.02531, equation 4: with zero-mean logits, (z_S - z_T)/classes as T grows."""
    generator = np.random.default_rng(0)
    teacher, student = generator.normal(size=(2, 5, 10)).astype(np.float32)
    teacher -= teacher.mean(-1, keepdims=True)
    student -= student.mean(-1, keepdims=True)
    _, (_, gradient) = value_and_gradients(teacher, student, 500.0, kind)
    np.testing.assert_allclose(gradient, (student - teacher) / 10, atol=2e-3)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_other_dtypes_are_computed_in_float32(dtype):
    generator = np.random.default_rng(1)
    teacher, student = (tf.cast(z, dtype) for z in generator.normal(0, 8, size=(2, 4, 10)))
    loss = losses.soft_loss(teacher, student, 4.0, "kl")
    expected = reference.soft_loss(
        tf.cast(teacher, tf.float64), tf.cast(student, tf.float64), 4.0, "kl"
    )
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["cross_entropy", "kl"])
@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_extreme_logits_stay_finite(kind, temperature):
    teacher = np.float32([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]])
    student = teacher[:, ::-1].copy()
    value, (_, gradient) = value_and_gradients(teacher, student, temperature, kind)
    expected = reference.soft_loss(teacher, student, temperature, kind)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        gradient, reference.soft_gradient(teacher, student, temperature), atol=1e-4
    )


def test_the_temperature_may_be_a_variable():
    teacher, student = np.float32([[2.0, 0.0]]), np.float32([[0.0, 1.0]])
    temperature = tf.Variable(1.0)
    compiled = tf.function(lambda: losses.soft_loss(teacher, student, temperature))
    for value in (1.0, 4.0):
        temperature.assign(value)
        expected = reference.soft_loss(teacher, student, value)
        np.testing.assert_allclose(compiled(), expected, rtol=1e-5)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"must be one of cross_entropy, kl\. Received: kind='mse'"):
        losses.soft_loss(tf.zeros([1, 2]), tf.zeros([1, 2]), kind="mse")


@given(logit_pairs())
def test_agreement_compares_the_chosen_classes(pair):
    teacher, student = pair
    expected = np.argmax(teacher, -1) == np.argmax(student, -1)
    np.testing.assert_array_equal(losses.agreement(teacher, student), expected.astype(np.float32))
