"""DIST and the cosine: losses that compare directions of probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from tfqkd.compat import tf
from tfqkd.core.losses import correlation_soft_loss, cosine_soft_loss

from . import soft_reference as reference

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(scale=2, size=(2, 6, 5))
FRAMEWORKS = {"numpy": np.asarray, "tensorflow": tf.constant}
LOSSES = {"dist": correlation_soft_loss, "cosine": cosine_soft_loss}
# Values of the formulas in float64, from the systems' own code.
PAPER_STUDENT, PAPER_TEACHER = [[1, 2, 0.5], [0, 0, 3]], [[2, 1, 0], [1, 0, 2]]


@pytest.fixture(params=FRAMEWORKS)
def tensor(request):
    """Makes a tensor of each framework that finds its table by itself."""
    return FRAMEWORKS[request.param]


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]


def gradient_of(loss, teacher, student):
    both = [tf.constant(logits, tf.float32) for logits in (teacher, student)]
    with tf.GradientTape() as tape:
        tape.watch(both)
        total = tf.reduce_sum(loss(*both))
    none, slope = tape.gradient(total, both)
    assert none is None
    return slope.numpy()


def test_they_have_the_known_values(tensor):
    both = tensor(PAPER_TEACHER), tensor(PAPER_STUDENT)
    inter = correlation_soft_loss(*both, gamma=0.0)
    assert np.mean(inter) == pytest.approx(0.559443, abs=1e-6)
    np.testing.assert_allclose(correlation_soft_loss(*both, beta=0.0), [0.0, 0.0], atol=1e-6)
    cosine = cosine_soft_loss(*both, 2.0, scale_by_temperature_squared=False)
    np.testing.assert_allclose(cosine, [0.103236, 0.053070], atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (2.0, 0.5)])
def test_dist_is_numpys_correlation_of_rows_and_columns(temperature, weights, tensor):
    value = correlation_soft_loss(tensor(TEACHER), tensor(STUDENT), temperature, *weights)
    expected = reference.correlation(TEACHER, STUDENT, temperature, *weights)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_cosine_and_its_gradient_are_the_closed_form(temperature, tensor):
    value = cosine_soft_loss(tensor(TEACHER), tensor(STUDENT), temperature)
    expected = reference.cosine(TEACHER, STUDENT, temperature)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    slope = gradient_of(lambda t, s: cosine_soft_loss(t, s, temperature), TEACHER, STUDENT)
    expected = reference.cosine_gradient(TEACHER, STUDENT, temperature)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_gradient_of_dist_is_the_slope_of_its_formula(temperature):
    slope = gradient_of(lambda t, s: correlation_soft_loss(t, s, temperature), TEACHER, STUDENT)
    for row, column in np.ndindex(STUDENT.shape):
        move = np.zeros_like(STUDENT)
        move[row, column] = 1e-5
        # The relation of examples makes every loss of the batch depend on every logit.
        above, below = (
            reference.correlation(TEACHER, STUDENT + step, temperature).sum()
            for step in (move, -move)
        )
        assert slope[row, column] == pytest.approx((above - below) / 2e-5, rel=1e-3, abs=1e-4)


def test_a_match_costs_nothing_and_pulls_nowhere(loss):
    for teacher in (TEACHER, 10 * TEACHER, np.zeros((4, 3)), TEACHER[:1], 1e4 * TEACHER):
        np.testing.assert_array_equal(loss(teacher, teacher), np.zeros(len(teacher)))
        slope = gradient_of(loss, teacher, teacher)
        np.testing.assert_allclose(slope, 0.0, atol=1e-6)


def test_the_cosine_of_certainty_is_bounded():
    loss = cosine_soft_loss(np.log([[0.6, 0.4]]), np.array([[100.0, 0.0]]))
    assert loss[0] == pytest.approx(1 - 0.6 / np.hypot(0.6, 0.4), abs=1e-6)
    assert cosine_soft_loss(np.array([[0.0, 1e4]]), np.array([[1e4, 0.0]]))[0] == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.05, 1.0), min_size=6, max_size=6),
    st.lists(st.floats(-50, 50), min_size=6, max_size=6),
    st.floats(0.25, 8.0),
)
def test_dist_matches_rising_linear_functions_of_the_rows(slopes, shifts, temperature):
    """`a·p + (1-a)/C` is a distribution again; logits may be shifted besides."""
    slopes, shifts = np.array(slopes)[:, None], np.array(shifts)[:, None]
    probabilities = slopes * softmax(TEACHER / temperature, axis=-1) + (1 - slopes) / 5
    student = temperature * np.log(probabilities) + shifts
    inter = correlation_soft_loss(TEACHER, student, temperature, 1.0, 0.0, False)
    np.testing.assert_allclose(inter, 0.0, atol=1e-5)
    # The columns match where all rows have one slope.
    student = temperature * np.log(
        slopes[0] * softmax(TEACHER / temperature, axis=-1) + (1 - slopes[0]) / 5
    )
    both = correlation_soft_loss(TEACHER, student, temperature, scale_by_temperature_squared=False)
    np.testing.assert_allclose(both, 0.0, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4),
    st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4),
    st.floats(-50, 50),
)
def test_the_cosine_lies_between_0_and_1_and_scales_of_the_odds_do_not_count(
    teacher, student, shift
):
    """A factor of all `e^z` is a shift of the logits."""
    teacher, student = np.float32([teacher]), np.float32([student])
    loss = cosine_soft_loss(teacher, student)
    assert 0 <= loss[0] <= 1 + 1e-6
    np.testing.assert_allclose(cosine_soft_loss(teacher, student + shift), loss, atol=1e-4)
    np.testing.assert_allclose(cosine_soft_loss(student, teacher), loss, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=6, max_size=6),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=6, max_size=6),
    st.floats(0.125, 32),
)
def test_dist_is_bounded_and_its_gradient_finite(teacher, student, temperature):
    teacher, student = (np.float32(logits).reshape(2, 3) for logits in (teacher, student))
    loss = correlation_soft_loss(teacher, student, temperature, 1.0, 1.0, False)
    assert (loss >= 0).all() and (loss <= 4 + 1e-5).all()
    slope = gradient_of(lambda t, s: correlation_soft_loss(t, s, temperature), teacher, student)
    assert np.isfinite(slope).all()


def test_dist_hears_of_classes_that_are_never_likely():
    """Probabilities of 1e-20, whose squares float32 cannot hold, match exactly and differ fully."""
    teacher = np.array([[0.0, -46.0, 1.0], [1.0, -47.0, 0.0], [0.0, -48.0, 0.5]])
    value = correlation_soft_loss(teacher, teacher[::-1], beta=0.0)
    expected = reference.correlation(teacher, teacher[::-1], 1.0, beta=0.0)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_what_does_not_deviate_has_no_correlation_and_no_gradient():
    flat = np.zeros_like(TEACHER)
    np.testing.assert_array_equal(correlation_soft_loss(TEACHER, flat), np.full(6, 2.0))
    np.testing.assert_array_equal(gradient_of(correlation_soft_loss, TEACHER, flat), flat)
    # One example has no relation to others.
    alone = correlation_soft_loss(TEACHER[:1], STUDENT[:1])
    expected = correlation_soft_loss(TEACHER, STUDENT, gamma=0.0)[:1]
    np.testing.assert_allclose(alone, expected, rtol=1e-5)


def test_all_axes_before_the_classes_are_examples(tensor, loss):
    flat = loss(tensor(TEACHER), tensor(STUDENT), 2.0)
    shaped = (tensor(logits.reshape(2, 3, 5)) for logits in (TEACHER, STUDENT))
    np.testing.assert_allclose(loss(*shaped, 2.0), np.reshape(flat, (2, 3)), rtol=1e-6)


def test_half_precision_is_computed_in_float32(loss):
    teacher, student = (tf.cast(z, tf.float16) for z in (TEACHER, STUDENT))
    half = loss(teacher, student, 3.0)
    assert half.dtype == tf.float32
    full = loss(tf.cast(teacher, tf.float32), tf.cast(student, tf.float32), 3.0)
    np.testing.assert_array_equal(half, full)


@pytest.mark.parametrize("shape", [None, [None, None], [None, 5]])
def test_in_a_graph_that_shows_no_shape_they_are_the_same(loss, shape):
    both = tf.constant(TEACHER, tf.float32), tf.constant(STUDENT, tf.float32)
    traced = tf.function(loss, input_signature=[tf.TensorSpec(shape), tf.TensorSpec(shape)])
    np.testing.assert_allclose(traced(*both), loss(*both), rtol=1e-5)
