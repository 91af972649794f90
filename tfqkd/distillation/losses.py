"""The soft loss, in plain TensorFlow ops.

Notation: `z_S` and `z_T` are the logits of student and teacher, `T` the temperature, `p = softmax(z/T)`.
Sums run over the classes: a mean over them, as some libraries take, makes the loss smaller by their number.
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
    if kind not in SOFT_LOSSES:
        raise ValueError(
            f"`kind` must be one of {', '.join(SOFT_LOSSES)}. Received: kind={kind!r}."
        )
    temperature = tf.cast(temperature, tf.float32)
    target = tf.stop_gradient(tf.cast(teacher_logits, tf.float32) / temperature)
    logits = tf.cast(student_logits, tf.float32) / temperature
    probabilities = tf.nn.softmax(target)
    loss = tf.nn.softmax_cross_entropy_with_logits(labels=probabilities, logits=logits)
    if kind == "kl":
        loss += tf.reduce_sum(probabilities * tf.nn.log_softmax(target), axis=-1)
    return loss * temperature**2 if scale_by_temperature_squared else loss


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
