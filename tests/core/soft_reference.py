"""Distillation in NumPy and SciPy alone, in float64, from the formulas."""

import numpy as np
from scipy.special import log_softmax, softmax


def soft_loss(teacher, student, temperature, kind="cross_entropy", scaled=True):
    target = softmax(np.float64(teacher) / temperature, axis=-1)
    loss = -(target * log_softmax(np.float64(student) / temperature, axis=-1)).sum(-1)
    if kind == "kl":
        loss -= entropy(target)
    return loss * (temperature**2 if scaled else 1)


def soft_gradient(teacher, student, temperature, scaled=True):
    difference = softmax(np.float64(student) / temperature, axis=-1) - softmax(
        np.float64(teacher) / temperature, axis=-1
    )
    return difference / temperature * (temperature**2 if scaled else 1)


def hard_loss(labels, logits):
    return -log_softmax(np.float64(logits), axis=-1)[np.arange(len(labels)), labels]


def hard_gradient(labels, logits):
    return softmax(np.float64(logits), axis=-1) - np.eye(logits.shape[-1])[labels]


def entropy(probabilities):
    return -(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(-1)


def sgd_step(
    kernel, bias, images, labels, teacher_logits, rate, coefficient, temperature, weights=1
):
    """A step of plain SGD on `(1-λ)·hard + λ·soft` for the student `logits = images @ kernel + bias`."""
    logits = images @ kernel + bias
    hard, soft = hard_gradient(labels, logits), soft_gradient(teacher_logits, logits, temperature)
    upstream = (1 - coefficient) * hard + coefficient * soft
    upstream *= np.broadcast_to(weights, len(images))[:, None] / len(images)
    return kernel - rate * images.T @ upstream, bias - rate * upstream.sum(0)


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.float64(logits)))


def binary_entropy(target, logits):
    """`H(target, σ(logits))` for each label."""
    return target * np.logaddexp(0, -logits) + (1 - target) * np.logaddexp(0, logits)


def sigmoid_soft_loss(teacher, student, temperature, kind="cross_entropy", scaled=True):
    teacher, student = np.float64(teacher) / temperature, np.float64(student) / temperature
    loss = binary_entropy(sigmoid(teacher), student)
    if kind == "kl":
        loss -= binary_entropy(sigmoid(teacher), teacher)
    return loss.mean(-1) * (temperature**2 if scaled else 1)


def sigmoid_soft_gradient(teacher, student, temperature, scaled=True):
    difference = sigmoid(np.float64(student) / temperature) - sigmoid(
        np.float64(teacher) / temperature
    )
    return difference / temperature / difference.shape[-1] * (temperature**2 if scaled else 1)


def squared_error(teacher, student):
    return ((np.float64(student) - np.float64(teacher)) ** 2).mean(-1)


def squared_error_gradient(teacher, student):
    difference = np.float64(student) - np.float64(teacher)
    return 2 * difference / difference.shape[-1]


def kl(p, q):
    return (p * np.log(p / q)).sum(-1)


def standardized_kl(teacher, student, temperature):
    """KL of logits without mean and (sample) deviation, times T²."""
    both = [
        (z - z.mean(-1, keepdims=True)) / (z.std(-1, ddof=1, keepdims=True) + 1e-7)
        for z in (np.float64(teacher), np.float64(student))
    ]
    return temperature**2 * kl(*(softmax(z / temperature, axis=-1) for z in both))


def decoupled(teacher, student, labels, temperature):
    """TCKD and NCKD of each example, times T², from the probabilities themselves."""
    binary, others = [], []
    for row_t, row_s, label in zip(np.float64(teacher), np.float64(student), labels, strict=True):
        p, q = softmax(row_t / temperature), softmax(row_s / temperature)
        binary.append(kl(np.array([p[label], 1 - p[label]]), np.array([q[label], 1 - q[label]])))
        p, q = np.delete(p, label), np.delete(q, label)
        others.append(kl(p / p.sum(), q / q.sum()))
    return temperature**2 * np.array(binary), temperature**2 * np.array(others)


def correlation(teacher, student, temperature, beta=1.0, gamma=1.0):
    """DIST of each example, times T², by NumPy's own correlations of rows and columns."""
    p, q = (softmax(np.float64(z) / temperature, axis=-1) for z in (teacher, student))
    rows = np.array([1 - np.corrcoef(*pair)[0, 1] for pair in zip(p, q, strict=True)])
    columns = [1 - np.corrcoef(*pair)[0, 1] for pair in zip(p.T, q.T, strict=True)]
    return temperature**2 * (beta * rows + gamma * np.mean(columns))


def cosine(teacher, student, temperature):
    """1 - cos of the probabilities of each example, times T²."""
    p, q = (softmax(np.float64(z) / temperature, axis=-1) for z in (teacher, student))
    lengths = np.linalg.norm(p, axis=-1) * np.linalg.norm(q, axis=-1)
    return temperature**2 * (1 - (p * q).sum(-1) / lengths)


def cosine_gradient(teacher, student, temperature):
    """Of `cosine` with respect to the student's logits."""
    p, q = (softmax(np.float64(z) / temperature, axis=-1) for z in (teacher, student))
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    u, v = p / np.linalg.norm(p, axis=-1, keepdims=True), q / length
    g = -(u - (u * v).sum(-1, keepdims=True) * v) / length
    return temperature**2 * q * (g - (q * g).sum(-1, keepdims=True)) / temperature
