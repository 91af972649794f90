"""A `Distiller` of labels, of values, and of classes by a loss that tells neither."""

import numpy as np
import pytest
from core import soft_reference as reference

from tfqkd.compat import keras, tf
from tfqkd.core.teachers import LOGITS_IN_BATCH, Ensemble
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.hard_loss import read_loss

losses, layers = keras.losses, keras.layers
BINARY = losses.BinaryCrossentropy(from_logits=True)
CROSS_ENTROPY = losses.SparseCategoricalCrossentropy(from_logits=True)
rng = np.random.default_rng(0)
X = rng.normal(size=(20, 5)).astype(np.float32)
WEIGHTS = rng.uniform(0.5, 2.0, 20)
RATE, COEFFICIENT, TEMPERATURE = 0.3, 0.4, 3.0


def linear(outputs, seed, activation=None):
    keras.utils.set_random_seed(seed)
    dense = layers.Dense(outputs, activation, bias_initializer="random_normal", name="end")
    return keras.Sequential([keras.Input((5,)), dense])


def fit(outputs, loss, y, teacher=None, x=X, student=None, eager=True, epochs=1, **arguments):
    arguments = {"coefficient": COEFFICIENT, "temperature": TEMPERATURE, **arguments}
    made = Distiller(
        student=student or linear(outputs, 0), teacher=teacher or linear(outputs, 1), **arguments
    )
    made.compile(keras.optimizers.SGD(RATE), loss, run_eagerly=eager)
    batch = {} if isinstance(x, tf.data.Dataset) else {"batch_size": 20, "sample_weight": WEIGHTS}
    history = made.fit(x, y, verbose=0, epochs=epochs, **batch).history
    return made, {name: values[0] for name, values in history.items()}


def labels_of(outputs):
    return (np.random.default_rng(outputs).normal(size=(20, outputs)) > 0).astype(np.float32)


def hard_of_labels(y, logits):
    loss = reference.binary_entropy(y, logits).mean(-1)
    return loss, (reference.sigmoid(logits) - y) / y.shape[-1]


def hard_of_values(y, values):
    return reference.squared_error(y, values), reference.squared_error_gradient(y, values)


def hard_of_classes(y, logits):
    return reference.hard_loss(y, logits), reference.hard_gradient(y, logits)


def soft_of_labels(teacher, student):
    value = reference.sigmoid_soft_loss(teacher, student, TEMPERATURE)
    return value, reference.sigmoid_soft_gradient(teacher, student, TEMPERATURE)


def soft_of_values(teacher, student):
    value = reference.squared_error(teacher, student)
    return value, reference.squared_error_gradient(teacher, student)


def soft_of_classes(teacher, student):
    value = reference.soft_loss(teacher, student, TEMPERATURE)
    return value, reference.soft_gradient(teacher, student, TEMPERATURE)


def by_differences(loss):
    """The value of a loss of each example, and its slope by differences of float64."""

    def value_and_slope(teacher, student):
        moves = 1e-5 * np.eye(student.shape[1])
        slope = [(loss(teacher, student + m) - loss(teacher, student - m)) / 2e-5 for m in moves]
        return loss(teacher, student), np.stack(slope, axis=1)

    return value_and_slope


@by_differences
def soft_of_standardized(teacher, student):
    return reference.standardized_kl(teacher, student, TEMPERATURE)


@by_differences
def soft_of_decoupled(teacher, student):
    binary, others = reference.decoupled(teacher, student, CLASSES, TEMPERATURE)
    return binary + 2.0 * others


def soft_of_correlated(teacher, student):
    """The value of each example, and the slope of their weighted sum by differences, over each weight."""

    def loss(student):
        return reference.correlation(teacher, student, TEMPERATURE)

    slope = np.zeros_like(student)
    for index in np.ndindex(student.shape):
        move = np.zeros_like(student)
        move[index] = 1e-5
        slope[index] = WEIGHTS @ (loss(student + move) - loss(student - move)) / 2e-5
    return loss(student), slope / WEIGHTS[:, None]


@by_differences
def soft_of_angles(teacher, student):
    return reference.cosine(teacher, student, TEMPERATURE)


def same_side(teacher, student):
    return ((teacher > 0) == (student > 0)).mean()


def same_class(teacher, student):
    return (teacher.argmax(1) == student.argmax(1)).mean()


def own_cross_entropy(y, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.reshape(tf.cast(y, tf.int32), [-1]), logits
    )


LABELS = (hard_of_labels, soft_of_labels, same_side)
VALUES = (hard_of_values, soft_of_values, None)
CLASSES = np.random.default_rng(3).integers(0, 4, 20)
CASES = {
    "one label": (1, BINARY, labels_of(1), LABELS, {}),
    "five labels": (5, BINARY, labels_of(5), LABELS, {"soft_loss": "cross_entropy"}),
    "values": (3, "mse", rng.normal(size=(20, 3)), VALUES, {}),
    "one value, kl": (1, losses.MeanSquaredError(), X[:, :1], VALUES, {"soft_loss": "kl"}),
    "a loss of one's own": (
        *(4, own_cross_entropy, CLASSES),
        (hard_of_classes, soft_of_classes, same_class),
        {"task": "softmax"},
    ),
    "standardized logits": (
        *(4, CROSS_ENTROPY, CLASSES),
        (hard_of_classes, soft_of_standardized, same_class),
        {"soft_loss": "standardized"},
    ),
    "decoupled": (
        *(4, CROSS_ENTROPY, CLASSES),
        (hard_of_classes, soft_of_decoupled, same_class),
        {"soft_loss": "dkd", "dkd_beta": 2.0},
    ),
    "correlations": (
        *(4, CROSS_ENTROPY, CLASSES),
        (hard_of_classes, soft_of_correlated, same_class),
        {"soft_loss": "dist"},
    ),
    "angles": (
        *(4, CROSS_ENTROPY, CLASSES),
        (hard_of_classes, soft_of_angles, same_class),
        {"soft_loss": "cosine"},
    ),
    "classes matched as values": (
        *(4, CROSS_ENTROPY, CLASSES),
        (hard_of_classes, soft_of_values, None),
        {"task": "regression"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_the_closed_form(case):
    """One step of SGD on `(1-λ)·hard + λ·soft` with sample weights: every value, and the weights after."""
    outputs, loss, y, (hard_of, soft_of, agreement), arguments = CASES[case]
    kernel, bias = (np.float64(weight) for weight in linear(outputs, 0).get_weights())
    student = X @ kernel + bias
    teacher = X @ linear(outputs, 1).get_weights()[0] + linear(outputs, 1).get_weights()[1]
    hard, hard_slope = hard_of(y, student)
    soft, soft_slope = soft_of(teacher, student)
    made, logs = fit(outputs, loss, y, **arguments)
    assert logs["hard_loss"] == pytest.approx(np.mean(WEIGHTS * hard), rel=1e-5)
    assert logs["soft_loss"] == pytest.approx(np.mean(WEIGHTS * soft), rel=1e-5)
    expected = (1 - COEFFICIENT) * logs["hard_loss"] + COEFFICIENT * logs["soft_loss"]
    assert logs["loss"] == pytest.approx(expected, rel=1e-6)
    assert logs["coefficient"] == pytest.approx(COEFFICIENT)
    # Nothing is softened or chosen in a regression, and what was not is not logged.
    assert ("agreement" in logs) == ("temperature" in logs) == (agreement is not None)
    if agreement:
        assert logs["agreement"] == pytest.approx(agreement(teacher, student), rel=1e-6)
    slope = (1 - COEFFICIENT) * hard_slope + COEFFICIENT * soft_slope
    slope *= WEIGHTS[:, None] / 20
    new_kernel, new_bias = made.student.get_weights()
    np.testing.assert_allclose(new_kernel, kernel - RATE * X.T @ slope, atol=2e-6)
    np.testing.assert_allclose(new_bias, bias - RATE * slope.sum(0), atol=2e-6)


def test_the_weight_of_the_soft_loss_stands_beside_the_coefficient():
    outputs, loss, y, _, _ = CASES["decoupled"]
    plain, logs = fit(outputs, loss, y, soft_loss="kl", coefficient=1.0)
    heavy, others = fit(outputs, loss, y, soft_loss="kl", coefficient=1.0, soft_weight=3.0)
    assert others["soft_loss"] == pytest.approx(logs["soft_loss"])
    assert others["loss"] == pytest.approx(3 * logs["loss"])
    start = linear(outputs, 0).get_weights()[0]
    moved = [made.student.get_weights()[0] - start for made in (plain, heavy)]
    np.testing.assert_allclose(moved[1], 3 * moved[0], atol=1e-6)


@pytest.mark.parametrize(
    ("outputs", "loss", "arguments", "message"),
    [
        (2, CROSS_ENTROPY, {"soft_loss": "dkd"}, "three classes or more.*Received: .* 2 classes"),
        (3, BINARY, {"soft_loss": "dkd"}, "'dkd' compares the classes.*task='sigmoid'"),
        (3, BINARY, {"soft_loss": "dist"}, "'dist' compares the classes.*task='sigmoid'"),
        (3, "mse", {"soft_loss": "cosine"}, "'cosine' compares the classes.*task='regression'"),
        (3, "mse", {"soft_loss": "standardized"}, "compares the classes.*task='regression'"),
        (3, CROSS_ENTROPY, {"soft_weight": -1.0}, "`soft_weight` must be 0 or more"),
        (3, CROSS_ENTROPY, {"dkd_beta": float("nan")}, "`dkd_beta` must be 0 or more"),
    ],
)
def test_a_soft_loss_that_does_not_fit_is_refused(outputs, loss, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(outputs, loss, None, **arguments)


@pytest.mark.parametrize("case", ["five labels", "values", "decoupled", "correlations", "angles"])
def test_kept_answers_and_an_ensemble_are_what_a_live_teacher_is(case):
    outputs, loss, y, _, arguments = CASES[case]
    first, second = linear(outputs, 1), linear(outputs, 2)
    mean = (first(X) + second(X)).numpy() / 2
    live, logs = fit(outputs, loss, y, Ensemble([first, second.call]), **arguments)
    assert logs["soft_loss"] > 0.01
    kept = tf.data.Dataset.from_tensors(((X, mean), y, WEIGHTS))
    for made, others in (
        fit(outputs, loss, None, LOGITS_IN_BATCH, x=kept, **arguments),
        fit(outputs, loss, y, lambda batch: (first(batch) + second(batch)) / 2, **arguments),
    ):
        assert others == pytest.approx(logs, rel=1e-5)
        for one, other in zip(live.student.get_weights(), made.student.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_student_of_labels_follows_its_teacher_compiled_by_xla():
    student, teacher = linear(1, 0), linear(1, 1)
    y = (teacher(X).numpy() > 0).astype(np.float32)
    made = Distiller(student=student, teacher=teacher, coefficient=1.0, soft_loss="kl")
    made.compile(keras.optimizers.SGD(0.1), BINARY, jit_compile=True)
    history = made.fit(X, y, batch_size=10, epochs=4, verbose=0).history
    assert history["soft_loss"][-1] < history["soft_loss"][0]


PROBABLE = {
    "one label": (1, 20, 1, "sigmoid"),
    "five labels": (5, 20, 1, "sigmoid"),
    "few at a time": (1, 5, 4, "sigmoid"),
}


@pytest.mark.parametrize("case", PROBABLE)
def test_a_teacher_of_labels_that_answers_in_probabilities_is_refused(case):
    outputs, batch, steps, activation = PROBABLE[case]
    made = Distiller(student=linear(outputs, 0), teacher=linear(outputs, 1, activation).call)
    made.compile("sgd", BINARY)
    with pytest.raises(ValueError, match=r"before the sigmoid\. Received: probabilities, values"):
        made.fit(X, labels_of(outputs), batch_size=batch, verbose=0)
    # One batch of five says nothing yet: logits may lie there by chance.
    assert made.optimizer.iterations.numpy() == steps


def test_logits_that_are_no_probabilities_and_values_of_a_regression_pass():
    y = labels_of(1)
    inside = np.linspace(0.1, 1.0, 20, dtype=np.float32)[:, None]
    for answers in (np.zeros((20, 1)), np.where(np.arange(20) < 19, inside.T, -0.1).T):
        fit(1, BINARY, y, teacher=lambda batch, answers=answers: tf.constant(answers))
    shares = np.float32([[0.25, 0.75]]) * np.ones((20, 2), np.float32)
    fit(2, "mse", labels_of(2), teacher=lambda batch: tf.constant(shares))
    fit(1, "mse", inside, teacher=lambda batch: tf.constant(inside))


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_what_ends_in_sigmoid_is_refused_for_labels_and_not_for_values(role):
    model = linear(2, 1, "sigmoid")
    given = model if role == "student" else Ensemble([linear(2, 0), model])
    made = Distiller(**{"student": linear(2, 0), "teacher": linear(2, 1), role: given})
    with pytest.raises(ValueError, match=f"{role} must end in logits.*'end' applies sigmoid"):
        made.compile("sgd", BINARY)
    made.compile("sgd", "mse")
    with pytest.raises(ValueError, match=f"{role} must end in logits.*'end' applies sigmoid"):
        Distiller(
            **{"student": linear(2, 0), "teacher": linear(2, 1), role: given, "task": "sigmoid"}
        )


def test_values_may_end_in_softmax_when_it_is_said_that_they_are_values():
    ends = linear(3, 1, "softmax"), linear(3, 2, "softmax")
    with pytest.raises(ValueError, match=r"applies softmax.*task='regression'"):
        Distiller(student=ends[0], teacher=ends[1])
    target = np.full((20, 3), 1 / 3, np.float32)
    teacher = Ensemble([ends[1], ends[1].call])
    _, logs = fit(3, "mse", target, student=ends[0], teacher=teacher, task="regression")
    expected = reference.squared_error(ends[1](X), linear(3, 1, "softmax")(X))
    assert logs["soft_loss"] == pytest.approx(np.mean(WEIGHTS * expected), rel=1e-5)


def squeezed(seed):
    model = linear(1, seed)
    return keras.Model(model.input, model.output[:, 0])


@pytest.mark.parametrize(
    ("student", "loss", "arguments", "message"),
    [
        (linear(1, 0), losses.SparseCategoricalCrossentropy(True), {}, "needs two classes or more"),
        (linear(1, 0), "mse", {"task": "softmax"}, "needs two classes or more"),
        (squeezed(0), BINARY, {}, r"must return \[batch, outputs\].*shape \(None,\)"),
        (squeezed(0), "mse", {}, r"must return \[batch, outputs\].*shape \(None,\)"),
        (linear(2, 0), losses.Hinge(), {}, "loss=Hinge"),
        (linear(2, 0), own_cross_entropy, {}, "loss=own_cross_entropy.*Pass task="),
    ],
)
def test_what_no_soft_loss_fits_is_refused_when_it_is_compiled(student, loss, arguments, message):
    made = Distiller(student=student, teacher=lambda batch: batch, **arguments)
    with pytest.raises(ValueError, match=message) as refused:
        made.compile("sgd", loss)
    assert "\n" not in str(refused.value)


def test_the_control_asks_no_teacher_and_takes_any_loss():
    _, logs = fit(2, losses.Hinge(), labels_of(2), teacher="never called", soft_loss="none")
    assert set(logs) == {"loss", "hard_loss", "coefficient", "temperature"}


def test_compiling_anew_reads_the_new_loss():
    made = Distiller(student=linear(2, 0), teacher=linear(2, 1))
    for loss, logged in (("mse", False), (BINARY, True), ("mae", False)):
        made.compile("sgd", loss, run_eagerly=True)
        history = made.fit(X, labels_of(2), batch_size=20, verbose=0).history
        assert ("agreement" in history) is logged
        assert read_loss(made.loss).task("auto").softens is logged


def test_an_unknown_task_and_models_by_position_are_refused():
    with pytest.raises(ValueError, match=r"`task` must be one of auto, softmax.*task='binary'"):
        Distiller(student=linear(2, 0), teacher=linear(2, 1), task="binary")
    with pytest.raises(TypeError, match="positional"):
        Distiller(linear(2, 0), linear(2, 1))


def test_answers_of_no_known_shape_are_not_stretched():
    def one_column(batch):
        return tf.numpy_function(lambda values: values[:, :1], [batch], tf.float32)

    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible"):
        fit(3, "mse", labels_of(3), teacher=one_column, eager=False)
    with pytest.raises(ValueError, match="outputs of the same shape"):
        fit(3, "mse", labels_of(3), teacher=lambda batch: batch[:, :1])
