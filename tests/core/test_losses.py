import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from tfqkd.compat import keras, tf
from tfqkd.core.agreement import (
    agreement,
    are_probabilities,
)
from tfqkd.core.losses import (
    decoupled_soft_loss,
    sigmoid_soft_loss,
    soft_loss,
    squared_error,
    standardized,
)

from . import soft_reference as reference

rng = np.random.default_rng(0)
TEACHER = rng.normal(scale=3, size=(6, 5))
STUDENT = rng.normal(scale=3, size=(6, 5))
FRAMEWORKS = {"numpy": np.asarray, "tensorflow": tf.constant}


@pytest.fixture(params=FRAMEWORKS)
def tensor(request):
    """Makes a tensor of each framework that finds its table by itself."""
    return FRAMEWORKS[request.param]


def value_and_gradient(**arguments):
    student = tf.constant(STUDENT, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(student)
        loss = soft_loss(tf.constant(TEACHER, tf.float32), student, **arguments)
        total = tf.reduce_sum(loss)
    return loss.numpy(), tape.gradient(total, student).numpy()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("scaled", [False, True])
def test_value_and_gradient_are_the_closed_form(temperature, scaled):
    target = softmax(TEACHER / temperature, axis=1)
    predicted = softmax(STUDENT / temperature, axis=1)
    factor = temperature**2 if scaled else 1.0
    cross_entropy = -factor * (target * log_softmax(STUDENT / temperature, axis=1)).sum(1)
    entropy = -factor * (target * log_softmax(TEACHER / temperature, axis=1)).sum(1)
    gradient = factor * (predicted - target) / temperature
    arguments = {"temperature": temperature, "scale_by_temperature_squared": scaled}
    for kind, expected in (("cross_entropy", cross_entropy), ("kl", cross_entropy - entropy)):
        value, slope = value_and_gradient(kind=kind, **arguments)
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)
        value = soft_loss(TEACHER, STUDENT, kind=kind, **arguments)
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-5)


def test_the_scaled_gradient_does_not_depend_on_a_high_temperature():
    teacher, student = (z - z.mean(axis=1, keepdims=True) for z in (TEACHER, STUDENT))
    for temperature in (100.0, 1000.0):
        logits = tf.Variable(student, dtype=tf.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(soft_loss(tf.constant(teacher, tf.float32), logits, temperature))
        # arXiv 1503.02531, equation 4: (z - v)/N for logits of zero mean, times T² over T².
        np.testing.assert_allclose(tape.gradient(loss, logits), (student - teacher) / 5, atol=0.05)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
    st.floats(0.125, 32),
)
def test_kl_is_finite_not_negative_and_zero_at_a_match(teacher, student, temperature):
    loss = soft_loss(
        tf.constant([teacher]), tf.constant([student]), temperature, "kl", False
    ).numpy()
    assert np.isfinite(loss).all()
    assert loss[0] >= -1e-3
    match = soft_loss(
        tf.constant([student]), tf.constant([student]), temperature, "kl", False
    ).numpy()
    assert abs(match[0]) < 1e-4


def test_no_gradient_reaches_the_teacher():
    teacher = tf.Variable(TEACHER, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(soft_loss(teacher, tf.constant(STUDENT, tf.float32), 2.0))
    assert tape.gradient(loss, teacher) is None


def test_half_precision_logits_are_computed_in_float32():
    teacher, student = (tf.cast(z, tf.float16) for z in (TEACHER, STUDENT))
    half = soft_loss(teacher, student, 3.0)
    full = soft_loss(tf.cast(teacher, tf.float32), tf.cast(student, tf.float32), 3.0)
    assert half.dtype == tf.float32
    np.testing.assert_array_equal(half, full)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="must be one of cross_entropy, kl"):
        soft_loss(tf.zeros([1, 2]), tf.zeros([1, 2]), kind="mse")


def gradient_of(loss, *arguments):
    student = tf.constant(STUDENT, tf.float32)
    teacher = tf.constant(TEACHER, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([student, teacher])
        value = loss(teacher, student, *arguments)
        total = tf.reduce_sum(value)
    slope, none = tape.gradient(total, [student, teacher])
    assert none is None
    return value.numpy(), slope.numpy()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", ["cross_entropy", "kl"])
def test_of_labels_value_and_gradient_are_the_closed_form(temperature, scaled, kind):
    value, slope = gradient_of(sigmoid_soft_loss, temperature, kind, scaled)
    expected = reference.sigmoid_soft_loss(TEACHER, STUDENT, temperature, kind, scaled)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)
    value = sigmoid_soft_loss(TEACHER, STUDENT, temperature, kind, scaled)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)
    gradient = reference.sigmoid_soft_gradient(TEACHER, STUDENT, temperature, scaled)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-6)


def test_of_labels_it_is_the_softmax_of_each_with_a_zero_beside_it(tensor):
    pairs = [tensor(np.stack([logits, np.zeros_like(logits)], -1)) for logits in (TEACHER, STUDENT)]
    for kind in ("cross_entropy", "kl"):
        expected = np.mean(soft_loss(*pairs, 3.0, kind), axis=-1)
        value = sigmoid_soft_loss(tensor(TEACHER), tensor(STUDENT), 3.0, kind)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_of_labels_at_temperature_one_it_is_keras_loss_on_the_teachers_probabilities(tensor):
    expected = keras.losses.binary_crossentropy(
        reference.sigmoid(TEACHER).astype(np.float32), STUDENT, from_logits=True
    )
    value = sigmoid_soft_loss(tensor(TEACHER), tensor(STUDENT))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_of_values_the_squared_error_and_its_gradient_are_the_closed_form():
    value, slope = gradient_of(squared_error)
    for each in (value, squared_error(TEACHER, STUDENT)):
        np.testing.assert_allclose(each, reference.squared_error(TEACHER, STUDENT), rtol=1e-5)
    expected = reference.squared_error_gradient(TEACHER, STUDENT)
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1e4, 1e-4])
def test_of_labels_the_kl_is_finite_and_zero_at_a_match(size):
    logits = tf.constant(TEACHER * size, tf.float32)
    np.testing.assert_allclose(sigmoid_soft_loss(logits, logits, 2.0, "kl"), 0.0, atol=1e-4)
    other = sigmoid_soft_loss(logits, tf.constant(STUDENT * size, tf.float32), 2.0, "kl").numpy()
    assert np.isfinite(other).all()
    assert (other >= -1e-6).all()


def test_labels_of_half_precision_are_computed_in_float32():
    teacher, student = (tf.cast(z, tf.float16) for z in (TEACHER, STUDENT))
    for loss in (sigmoid_soft_loss, squared_error):
        full = loss(tf.cast(teacher, tf.float32), tf.cast(student, tf.float32))
        assert full.dtype == tf.float32
        np.testing.assert_array_equal(loss(teacher, student), full)


def test_an_unknown_kind_of_labels_is_refused():
    with pytest.raises(ValueError, match="must be one of cross_entropy, kl"):
        sigmoid_soft_loss(tf.zeros([1, 2]), tf.zeros([1, 2]), kind="mse")


# Values of the formulas in float64, from the systems' own code: T = 2, classes 0 and 2.
PAPER_STUDENT, PAPER_TEACHER = [[1, 2, 0.5], [0, 0, 3]], [[2, 1, 0], [1, 0, 2]]


def test_decoupled_distillation_has_the_known_values(tensor):
    both = tensor(PAPER_TEACHER), tensor(PAPER_STUDENT)
    loss = decoupled_soft_loss(*both, [0, 2], 2.0, beta=8.0)
    assert np.mean(loss) == pytest.approx(0.950068, abs=1e-6)
    binary = decoupled_soft_loss(*both, [0, 2], 2.0, 0.0, False)
    np.testing.assert_allclose(binary, [0.101086, 0.074116], atol=1e-6)


def test_the_kl_of_standardized_logits_has_the_known_value(tensor):
    both = standardized(tensor(PAPER_TEACHER)), standardized(tensor(PAPER_STUDENT))
    assert np.mean(soft_loss(*both, 2.0, "kl")) == pytest.approx(0.301568, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("beta", [0.0, 1.0, 8.0])
def test_decoupled_distillation_is_its_two_parts(temperature, beta, tensor):
    labels = rng.integers(0, 5, len(TEACHER))
    binary, others = reference.decoupled(TEACHER, STUDENT, labels, temperature)
    both = tensor(TEACHER), tensor(STUDENT)
    loss = decoupled_soft_loss(*both, labels, temperature, beta)
    np.testing.assert_allclose(loss, binary + beta * others, rtol=1e-4, atol=1e-5)
    # KL = TCKD + (1 - p[y])·NCKD.
    sure = softmax(TEACHER / temperature, axis=1)[np.arange(len(labels)), labels]
    whole = soft_loss(*both, temperature, "kl")
    np.testing.assert_allclose(binary + (1 - sure) * others, whole, rtol=1e-4, atol=1e-4)


def slope_of(loss, logits):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(loss(logits))
    return tape.gradient(total, logits)


@pytest.mark.parametrize(
    "loss",
    [
        lambda t, s: decoupled_soft_loss(t, s, [0, 1, 2, 3, 4, 0], 4.0),
        lambda t, s: soft_loss(standardized(t), standardized(s), 2.0, "kl"),
    ],
    ids=["dkd", "standardized"],
)
def test_a_loss_of_classes_is_flat_and_zero_at_the_teacher_and_stays_finite(loss):
    teacher = tf.constant(TEACHER, tf.float32)
    np.testing.assert_allclose(loss(teacher, teacher), np.zeros(6), atol=1e-6)
    np.testing.assert_allclose(slope_of(lambda s: loss(teacher, s), teacher), 0.0, atol=1e-5)
    assert slope_of(lambda t: loss(t, tf.constant(STUDENT, tf.float32)), teacher) is None
    for logits in (1e4 * teacher, tf.zeros_like(teacher)):
        assert np.isfinite(loss(-teacher * 1e4, logits)).all()
        assert np.isfinite(slope_of(lambda s: loss(teacher * 1e4, s), logits)).all()


CLASSES = [0, 1, 2, 3, 4, 0]


def decoupled_reference(student):
    binary, others = reference.decoupled(TEACHER, student, CLASSES, 2.0)
    return binary + 3.0 * others


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda t, s: decoupled_soft_loss(t, s, CLASSES, 2.0, 3.0), decoupled_reference),
        (
            lambda t, s: soft_loss(standardized(t), standardized(s), 2.0, "kl"),
            lambda student: reference.standardized_kl(TEACHER, student, 2.0),
        ),
    ],
    ids=["dkd", "standardized"],
)
def test_the_gradient_of_a_loss_of_classes_is_the_slope_of_its_formula(loss, expected):
    value, slope = gradient_of(loss)
    np.testing.assert_allclose(value, expected(STUDENT), rtol=1e-4, atol=1e-5)
    # Central differences in float64: one logit of every example at a time.
    moves = 1e-5 * np.eye(STUDENT.shape[1])
    slopes = [(expected(STUDENT + move) - expected(STUDENT - move)) / 2e-5 for move in moves]
    np.testing.assert_allclose(slope, np.stack(slopes, axis=1), rtol=1e-3, atol=1e-5)


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_standardized_logits_know_no_scale_and_no_shift(scale, shift):
    for tensor in FRAMEWORKS.values():
        plain = standardized(tensor(TEACHER))
        moved = standardized(tensor(scale * TEACHER + shift))
        np.testing.assert_allclose(moved, plain, atol=2e-2 / min(scale, 1))
        np.testing.assert_allclose(np.std(plain, axis=1, ddof=1), 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        lambda t, s: soft_loss(t, s, 2.0, "kl"),
        lambda t, s: decoupled_soft_loss(t, s, tf.zeros([6], tf.int64), 2.0),
        lambda t, s: soft_loss(standardized(t), standardized(s), 2.0),
        lambda t, s: sigmoid_soft_loss(t, s, 2.0, "kl"),
        squared_error,
        agreement,
        lambda t, s: are_probabilities(s),
    ],
)
def test_in_a_graph_that_shows_no_shape_a_loss_is_what_it_is_eagerly(loss):
    both = tf.constant(TEACHER, tf.float32), tf.constant(STUDENT, tf.float32)
    traced = tf.function(loss, input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)])
    np.testing.assert_allclose(traced(*both), loss(*both), rtol=1e-6)


def test_autograph_has_nothing_to_say_of_how_the_table_is_found(caplog):
    @tf.function
    def loss(teacher, student):
        return soft_loss(teacher, student, 2.0, "kl")

    loss(tf.constant(TEACHER), tf.constant(STUDENT))
    assert not caplog.records


def test_tensors_of_no_framework_are_refused():
    for loss in (soft_loss, sigmoid_soft_loss, squared_error, agreement):
        with pytest.raises(TypeError, match=r"must be of one of numpy.*Received: <class 'list'>"):
            loss([[1.0, 2.0]], [[2.0, 1.0]])
