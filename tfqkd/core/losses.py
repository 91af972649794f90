"""The soft losses: what a student is compared with its teacher by.

Notation: `z_S` and `z_T` are the logits of student and teacher, `T` the temperature, `p = softmax(z/T)`.
Sums run over the classes: a mean over them, as some libraries take, makes the loss smaller by their number.
Over labels and values a mean is taken, as Keras takes it in the hard losses beside them.

Tensors are of any framework; `ops` is the table of its functions, found by the student's tensor where it is
None. All is computed in float32, whatever the logits are.
"""

from tfqkd.core.ops import Ops, Tensor, ops_of
from tfqkd.core.probabilities import apart, decoupled, divergence, uncorrelated

SOFT_LOSSES: tuple[str, ...] = ("cross_entropy", "kl")
STANDARDIZED, DECOUPLED, CORRELATION, COSINE = "standardized", "dkd", "dist", "cosine"
CLASS_LOSSES: tuple[str, ...] = (*SOFT_LOSSES, STANDARDIZED, DECOUPLED, CORRELATION, COSINE)
"""Of the classes of one softmax; labels and values have `SOFT_LOSSES` alone."""


def soft_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    kind: str = "cross_entropy",
    scale_by_temperature_squared: bool = True,
    ops: Ops | None = None,
) -> Tensor:
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
        ops: The table of their framework; None finds it.

    Returns:
        Float32, `[...]`.

    Raises:
        ValueError: If `kind` is unknown.
        TypeError: If the tensors are of no known framework.
    """
    _require_kind(kind)
    ops = ops or ops_of(student_logits)
    temperature = ops.cast(temperature, "float32")
    target, logits = _softened(teacher_logits, student_logits, temperature, ops)
    probabilities = ops.softmax(target)
    loss = ops.categorical_crossentropy(probabilities, logits, from_logits=True)
    if kind == "kl":
        loss += ops.sum(probabilities * ops.log_softmax(target), axis=-1)
    return loss * temperature**2 if scale_by_temperature_squared else loss


def standardized(logits: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns `(z - mean(z)) / (std(z) + 1e-7)` over the classes of each example.

    Logit standardization (arXiv 2403.01427): teacher and student are compared by the relative sizes of their
    logits, whatever the scale and the shift of each, which a student of low capacity cannot match. The
    standard deviation has N - 1 below, as in the authors' code.

    Args:
        logits: Float, `[..., classes]`.
        ops: The table of their framework; None finds it.

    Returns:
        Float32, of the same shape.
    """
    ops = ops or ops_of(logits)
    logits = ops.cast(logits, "float32")
    centred = logits - ops.mean(logits, axis=-1, keepdims=True)
    squares = ops.sum(centred**2, axis=-1, keepdims=True)
    # Counted in the graph: TensorFlow merges a division by a constant into others, and rounds otherwise.
    classes = ops.size(logits) // ops.maximum(ops.size(squares), 1)
    variance = squares / ops.cast(classes - 1, "float32")
    # The root has no gradient at zero: logits that are all equal stay zero.
    spread = ops.where(variance > 0, ops.sqrt(ops.where(variance > 0, variance, 1.0)), 0.0)
    return centred / (spread + 1e-7)


def decoupled_soft_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 1.0,
    beta: float = 8.0,
    scale_by_temperature_squared: bool = True,
    ops: Ops | None = None,
) -> Tensor:
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
        ops: The table of their framework; None finds it.

    Returns:
        Float32, `[...]`.
    """
    ops = ops or ops_of(student_logits)
    temperature = ops.cast(temperature, "float32")
    target, logits = _softened(teacher_logits, student_logits, temperature, ops)
    classes = ops.arange(ops.shape(logits)[-1], dtype="int32")
    label = ops.equal(ops.cast(labels, "int32")[..., None], classes)
    sure, unsure, others = decoupled(target, label, ops)
    log_sure, log_unsure, log_others = decoupled(logits, label, ops)
    # Where a probability is 0 its logarithm counts for nothing.
    binary = divergence(sure, log_sure, ops) + divergence(unsure, log_unsure, ops)
    rest = ops.sum(ops.where(label, 0.0, divergence(others, log_others, ops)), axis=-1)
    loss = binary + beta * rest
    return loss * temperature**2 if scale_by_temperature_squared else loss


def correlation_soft_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    scale_by_temperature_squared: bool = True,
    ops: Ops | None = None,
) -> Tensor:
    """Returns DIST, what correlations of the probabilities lack of 1, for each example (arXiv 2205.10536).

    With ρ Pearson's correlation and B examples, example i has
    `β·(1 - ρ(p_S[i, :], p_T[i, :])) + γ·mean_c (1 - ρ(p_S[:, c], p_T[:, c]))`: the relation between the
    classes of an example, and that between the examples in a class. Each is in [0, 2] and is 0 where the
    student's probabilities are a rising linear function of the teacher's, which asks less of a small student
    than their equality. `1 - ρ` is half the squared distance of the centred vectors of length 1.

    The second term is one number for the batch, the same for all its examples, so that a mean over them has
    it once. It is of the examples that are computed together, all axes before the classes alike: on a
    replica of `tf.distribute` of its share of the batch alone, so that several replicas do not train what
    one trains; on JAX's devices, whose arrays are whole, of the whole batch. Sample
    weights multiply each example's loss: they weigh the first term by example, the second by their mean, and
    do not leave an example out of the correlations, not even at weight 0. Take batches of many examples:
    with one the second term is 0, with two each ρ is 1 or -1.

    A row or column without deviation, to within the rounding of float32, has no correlation and gets no
    gradient: 1 - ρ is 0 where the other has none either, else 1. The authors' code adds 1e-8 to what it
    divides by instead, which a match in classes of small probabilities does not bring to 0.

    Args:
        teacher_logits: Float, `[..., classes]`. Treated as constant: no gradient flows to them.
        student_logits: Float, `[..., classes]`.
        temperature: `T > 0`, divides both logits.
        beta: Weight of the relation between classes.
        gamma: Weight of the relation between examples.
        scale_by_temperature_squared: Whether the loss is multiplied by `T²`, as in the authors' code.
        ops: The table of their framework; None finds it.

    Returns:
        Float32, `[...]`.
    """
    ops = ops or ops_of(student_logits)
    temperature = ops.cast(temperature, "float32")
    target, logits = _softened(teacher_logits, student_logits, temperature, ops)
    target, predicted = ops.softmax(target), ops.softmax(logits)
    between_classes = uncorrelated(target, predicted, -1, ops)
    target, predicted = (ops.reshape(p, (-1, ops.shape(p)[-1])) for p in (target, predicted))
    between_examples = ops.mean(uncorrelated(target, predicted, 0, ops))
    loss = beta * between_classes + gamma * between_examples
    return loss * temperature**2 if scale_by_temperature_squared else loss


def cosine_soft_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    scale_by_temperature_squared: bool = True,
    ops: Ops | None = None,
) -> Tensor:
    """Returns `1 - cos(p_T, p_S)`, the angle between the softened probabilities, for each example.

    Bounded, 0 to 1 before the factor T²: a student that is sure of the wrong class costs no more than 1,
    where the KL divergence grows with its logits. With the unit vectors û of p_T and v̂ of p_S and
    `g = -(û - ⟨û, v̂⟩·v̂)/‖p_S‖` the gradient is `∂/∂z_S = p_S·(g - ⟨p_S, g⟩)/T`.

    After the abstract of arXiv 2009.14502, whose teacher is a student of higher precision. That the cosine
    is of probabilities, not of logits, and the factor T² are not in it: they are our choice.

    Args:
        teacher_logits: Float, `[..., classes]`. Treated as constant: no gradient flows to them.
        student_logits: Float, `[..., classes]`.
        temperature: `T > 0`, divides both logits.
        scale_by_temperature_squared: Whether the loss is multiplied by `T²`.
        ops: The table of their framework; None finds it.

    Returns:
        Float32, `[...]`.
    """
    ops = ops or ops_of(student_logits)
    temperature = ops.cast(temperature, "float32")
    target, logits = _softened(teacher_logits, student_logits, temperature, ops)
    loss = apart(ops.softmax(target), ops.softmax(logits), -1, ops)
    return loss * temperature**2 if scale_by_temperature_squared else loss


def sigmoid_soft_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float | Tensor = 1.0,
    kind: str = "cross_entropy",
    scale_by_temperature_squared: bool = True,
    ops: Ops | None = None,
) -> Tensor:
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
        ops: The table of their framework; None finds it.

    Returns:
        Float32, `[...]`.

    Raises:
        ValueError: If `kind` is unknown.
    """
    _require_kind(kind)
    ops = ops or ops_of(student_logits)
    temperature = ops.cast(temperature, "float32")
    target, logits = _softened(teacher_logits, student_logits, temperature, ops)
    probabilities = ops.sigmoid(target)
    loss = ops.binary_crossentropy(probabilities, logits, from_logits=True)
    if kind == "kl":
        loss -= ops.binary_crossentropy(probabilities, target, from_logits=True)
    loss = ops.mean(loss, axis=-1)
    return loss * temperature**2 if scale_by_temperature_squared else loss


def squared_error(teacher_values: Tensor, student_values: Tensor, ops: Ops | None = None) -> Tensor:
    """Returns the mean of `(v_S - v_T)²` over the values of each example; no temperature.

    It is the KL divergence between normal distributions of variance 1/2 round both values, and their
    cross-entropy but for a constant. With `n` values the gradient is `∂/∂v_S = 2·(v_S - v_T)/n`.

    Args:
        teacher_values: Float, `[..., values]`. Treated as constant: no gradient flows to them.
        student_values: Float, `[..., values]`.
        ops: The table of their framework; None finds it.

    Returns:
        Float32, `[...]`.
    """
    ops = ops or ops_of(student_values)
    target = ops.stop_gradient(ops.cast(teacher_values, "float32"))
    return ops.mean((ops.cast(student_values, "float32") - target) ** 2, axis=-1)


def _softened(
    teacher_logits: Tensor, student_logits: Tensor, temperature: Tensor, ops: Ops
) -> tuple[Tensor, Tensor]:
    target = ops.stop_gradient(ops.cast(teacher_logits, "float32") / temperature)
    return target, ops.cast(student_logits, "float32") / temperature


def _require_kind(kind: str) -> None:
    if kind not in SOFT_LOSSES:
        raise ValueError(
            f"`kind` must be one of {', '.join(SOFT_LOSSES)}. Received: kind={kind!r}."
        )
