"""The soft losses, in plain TensorFlow ops.

Notation: `z_S` and `z_T` are the logits of student and teacher, `T` the temperature, `p = softmax(z/T)`.
Sums run over the classes: a mean over them, as some libraries take, makes the loss smaller by their number.
Over labels and values a mean is taken, as Keras takes it in the hard losses beside them.
"""

import tensorflow as tf

SOFT_LOSSES: tuple[str, ...] = ("cross_entropy", "kl")
STANDARDIZED, DECOUPLED = "standardized", "dkd"
CLASS_LOSSES: tuple[str, ...] = (*SOFT_LOSSES, STANDARDIZED, DECOUPLED)
"""Of the classes of one softmax; labels and values have `SOFT_LOSSES` alone."""


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


def standardized(logits: tf.Tensor) -> tf.Tensor:
    """Returns `(z - mean(z)) / (std(z) + 1e-7)` over the classes of each example.

    Logit standardization (arXiv 2403.01427): teacher and student are compared by the relative sizes of their
    logits, whatever the scale and the shift of each, which a student of low capacity cannot match. The
    standard deviation has N - 1 below, as in the authors' code.

    Args:
        logits: Float, `[..., classes]`.

    Returns:
        Float32, of the same shape.
    """
    logits = tf.cast(logits, tf.float32)
    centred = logits - tf.reduce_mean(logits, axis=-1, keepdims=True)
    freedom = tf.cast(tf.shape(logits)[-1] - 1, tf.float32)
    variance = tf.reduce_sum(centred**2, axis=-1, keepdims=True) / freedom
    # The root has no gradient at zero: logits that are all equal stay zero.
    spread = tf.where(variance > 0, tf.sqrt(tf.where(variance > 0, variance, 1.0)), 0.0)
    return centred / (spread + 1e-7)


def decoupled_soft_loss(
    teacher_logits: tf.Tensor,
    student_logits: tf.Tensor,
    labels: tf.Tensor,
    temperature: float | tf.Tensor = 1.0,
    beta: float = 8.0,
    scale_by_temperature_squared: bool = True,
) -> tf.Tensor:
    """Returns decoupled knowledge distillation, DKD, for each example (arXiv 2203.08679).

    `TCKD + β·NCKD`: the KL divergence between the two-class distributions `(p_y, 1 - p_y)` of the label y,
    and that between the distributions over the other classes, renormalised. `KL(p_T ‖ p_S) = TCKD +
    (1 - p_T[y])·NCKD`: a teacher that is sure of the label silences what it knows of the others, and β
    brings it back. No gradient flows into the teacher.

    Args:
        teacher_logits: Float, `[..., classes]`, three classes or more.
        student_logits: Float, `[..., classes]`.
        labels: Whole numbers `[...]`, 0 to classes - 1.
        temperature: `T > 0`, divides both logits.
        beta: Weight of NCKD; 8 is the authors' for most pairs, 2 for ResNet56 → ResNet20.
        scale_by_temperature_squared: Whether the loss is multiplied by `T²`.

    Returns:
        Float32, `[...]`.
    """
    temperature = tf.cast(temperature, tf.float32)
    target, logits = _softened(teacher_logits, student_logits, temperature)
    label = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)
    sure, unsure, others = _decoupled(target, label)
    log_sure, log_unsure, log_others = _decoupled(logits, label)
    # Where a probability is 0 its logarithm counts for nothing.
    binary = _divergence(sure, log_sure) + _divergence(unsure, log_unsure)
    rest = tf.reduce_sum(tf.where(label, 0.0, tf.exp(others) * (others - log_others)), axis=-1)
    loss = binary + beta * rest
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


def class_numbers(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the class of each example, whether labels are numbers, in a column or not, or one-hot.

    Args:
        labels: `[...]`, `[..., 1]` or `[..., classes]`.
        logits: `[..., classes]`.
    """
    if labels.shape.rank == logits.shape.rank and labels.shape[-1] != 1:
        return tf.argmax(labels, axis=-1)
    return tf.cast(tf.reshape(labels, tf.shape(logits)[:-1]), tf.int64)


def _decoupled(logits: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns log p of the label, log p of all others together, and log p of each among the others."""
    total = tf.reduce_logsumexp(logits, axis=-1)
    own = tf.reduce_sum(tf.where(label, logits, 0.0), axis=-1)
    others = tf.reduce_logsumexp(tf.where(label, logits.dtype.min, logits), axis=-1)
    among = tf.where(label, 0.0, logits - others[..., tf.newaxis])
    return own - total, others - total, among


def _divergence(log_p: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    """p·(log p - log q)."""
    return tf.exp(log_p) * (log_p - log_q)


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
