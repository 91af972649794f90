"""The soft losses, in plain TensorFlow ops.

Notation: `z_S` and `z_T` are the logits of student and teacher, `T` the temperature, `p = softmax(z/T)`.
Sums run over the classes: a mean over them, as some libraries take, makes the loss smaller by their number.
Over labels and values a mean is taken, as Keras takes it in the hard losses beside them.
"""

import tensorflow as tf

SOFT_LOSSES: tuple[str, ...] = ("cross_entropy", "kl")


def soft_loss(
    teacher_logits: tf.Tensor,
    student_logits: tf.Tensor,
    temperature: float | tf.Tensor = 1.0,
    kind: str = "cross_entropy",
    scale_by_temperature_squared: bool = True,
) -> tf.Tensor:
    """Returns the loss between the softened distributions of teacher and student, for each example.

    Cross-entropy: `H(p_T, p_S) = -Σ p_T · log p_S`. KL: `KL(p_T ‖ p_S) = H(p_T, p_S) - H(p_T)`, zero where
    the student matches the teacher. Their gradient is the same:
    `∂/∂z_S = (p_S - p_T)/T`, times `T²` if scaled.

    Sources: arXiv 1503.02531, section 2 (softened targets and the factor T², which keeps the gradient of the
    same size at any T); arXiv 1909.01688 (the loss of this project).

    Args:
        teacher_logits: Float, `[..., classes]`. Treated as constant: no gradient flows to them.
        student_logits: Float, `[..., classes]`.
        temperature: `T > 0`.
        kind: "cross_entropy" or "kl".
        scale_by_temperature_squared: Whether the loss is multiplied by `T²`.

    Returns:
        Float32, `[...]`. Computed in float32 whatever the logits are.

    Raises:
        ValueError: If `kind` is unknown.
    """
    _require_kind(kind)
    temperature = tf.cast(temperature, tf.float32)
    target, logits = _softened(teacher_logits, student_logits, temperature)
    probabilities = tf.nn.softmax(target)
    loss = tf.nn.softmax_cross_entropy_with_logits(labels=probabilities, logits=logits)
    if kind == "kl":
        loss += tf.reduce_sum(probabilities * tf.nn.log_softmax(target), axis=-1)
    return loss * temperature**2 if scale_by_temperature_squared else loss


def sigmoid_soft_loss(
    teacher_logits: tf.Tensor,
    student_logits: tf.Tensor,
    temperature: float | tf.Tensor = 1.0,
    kind: str = "cross_entropy",
    scale_by_temperature_squared: bool = True,
) -> tf.Tensor:
    """Returns the soft loss of labels that are each yes or no, for each example: the mean over its labels.

    Each label has one logit, `z`, and is a softmax of two classes with the logits `z` and 0: `p = σ(z/T)`.
    Cross-entropy: `H = -p_T · log p_S - (1 - p_T) · log(1 - p_S)`. KL: `H(p_T, p_S) - H(p_T)`. With `L`
    labels the gradient of both is `∂/∂z_S = (p_S - p_T)/(T·L)`, times `T²` if scaled. At `T = 1` it is
    Keras' `BinaryCrossentropy` on the teacher's probabilities.

    Args:
        teacher_logits: Float, `[..., labels]`. Treated as constant: no gradient flows to them.
        student_logits: Float, `[..., labels]`.
        temperature: `T > 0`.
        kind: "cross_entropy" or "kl".
        scale_by_temperature_squared: Whether the loss is multiplied by `T²`.

    Returns:
        Float32, `[...]`.

    Raises:
        ValueError: If `kind` is unknown.
    """
    _require_kind(kind)
    temperature = tf.cast(temperature, tf.float32)
    target, logits = _softened(teacher_logits, student_logits, temperature)
    probabilities = tf.sigmoid(target)
    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=probabilities, logits=logits)
    if kind == "kl":
        loss -= tf.nn.sigmoid_cross_entropy_with_logits(labels=probabilities, logits=target)
    loss = tf.reduce_mean(loss, axis=-1)
    return loss * temperature**2 if scale_by_temperature_squared else loss


def squared_error(teacher_values: tf.Tensor, student_values: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `(v_S - v_T)²` over the values of each example; no temperature.

    It is the KL divergence between normal distributions of variance 1/2 round both values, and their
    cross-entropy but for a constant. With `n` values the gradient is `∂/∂v_S = 2·(v_S - v_T)/n`.

    Args:
        teacher_values: Float, `[..., values]`. Treated as constant: no gradient flows to them.
        student_values: Float, `[..., values]`.

    Returns:
        Float32, `[...]`.
    """
    target = tf.stop_gradient(tf.cast(teacher_values, tf.float32))
    return tf.reduce_mean((tf.cast(student_values, tf.float32) - target) ** 2, axis=-1)


def are_probabilities(answers: tf.Tensor) -> tf.Tensor:
    """Returns whether every row is a distribution: no value below zero, a sum of 1 to within a hundredth.

    Args:
        answers: Float, `[..., classes]`. None at all are no distributions.
    """
    answers = tf.cast(answers, tf.float32)
    # bfloat16 rounds each of them by up to 0.4 %.
    sums = tf.abs(tf.reduce_sum(answers, axis=-1) - 1) < 0.01
    rows = tf.reduce_all(answers >= 0, axis=-1) & sums
    return tf.reduce_all(rows) & (tf.size(answers) > 0)


def agreement(teacher_logits: tf.Tensor, student_logits: tf.Tensor) -> tf.Tensor:
    """Returns whether student and teacher choose the same class: float32 0 or 1, `[...]`."""
    same = tf.argmax(teacher_logits, axis=-1) == tf.argmax(student_logits, axis=-1)
    return tf.cast(same, tf.float32)


def sigmoid_agreement(teacher_logits: tf.Tensor, student_logits: tf.Tensor) -> tf.Tensor:
    """Returns whether student and teacher say the same of a label, yes above 0: float32 0 or 1 for each."""
    return tf.cast((teacher_logits > 0) == (student_logits > 0), tf.float32)


def _softened(
    teacher_logits: tf.Tensor, student_logits: tf.Tensor, temperature: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    target = tf.stop_gradient(tf.cast(teacher_logits, tf.float32) / temperature)
    return target, tf.cast(student_logits, tf.float32) / temperature


def _require_kind(kind: str) -> None:
    if kind not in SOFT_LOSSES:
        raise ValueError(
            f"`kind` must be one of {', '.join(SOFT_LOSSES)}. Received: kind={kind!r}."
        )
