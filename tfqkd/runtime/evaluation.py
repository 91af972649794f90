"""What a model's outputs are worth on labelled images."""

import dataclasses

import numpy as np

from tfqkd.runtime.outputs import LOGITS, SIGMOID, SIGMOID_LOGITS, SOFTMAX, probabilities

_LEAST = 1e-7
"""The least probability, as in Keras' losses: float32 may have rounded it to zero."""
BINS = 15
"""Into how many equal parts the range of a probability is cut, as in arXiv 1706.04599."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """Decisions whose probability is in one part of 0 to 1.

    Attributes:
        count: How many they are.
        probability: The mean of what the model gave them.
        frequency: The share of them that came true. Both are 0 where there are none.
    """

    count: int
    probability: float
    frequency: float


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one split.

    Attributes:
        accuracy: Share of images whose best class is right, 0 to 1.
        top5: Share of images whose label is among the five best classes; None for five classes or fewer.
        loss: Mean cross-entropy of the labels, in nats: their negative log-likelihood (NLL); None for a model
            that returns values. By sigmoid each class is asked for by itself: the mean over the classes too.
        confusion: Counts, int64 `[classes, classes]`: rows are labels, columns what the model said.
        reliability: Decisions by their probability, in `BINS` parts, each without its lower end: by softmax
            the best class of each image, by sigmoid every class. Empty for a model that returns values.
    """

    accuracy: float
    top5: float | None
    loss: float | None
    confusion: np.ndarray
    reliability: tuple[Bin, ...]

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error (ECE): `Σ n_b/n · |probability_b − frequency_b|`, 0 to 1.

        None for a model that returns values. After Guo and others, arXiv 1706.04599, equation 3.
        """
        if not self.reliability:
            return None
        gaps = [each.count * abs(each.probability - each.frequency) for each in self.reliability]
        return sum(gaps) / sum(each.count for each in self.reliability)

    @property
    def precision(self) -> tuple[float | None, ...]:
        """By class, the share of the model's predictions of it that are right; None without a prediction."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> tuple[float | None, ...]:
        """By class, the share of its images that the model found; None where there are none."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=1))


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much more accurate one model is than another on the same images.

    Attributes:
        accuracy: Its accuracy minus the other's, -1 to 1.
        error: Standard error of it that these images give: smaller than that of two samples of images, since
            most images are right with both models or with neither. Another training is not in it.
    """

    accuracy: float
    error: float


def paired_difference(right: np.ndarray, other: np.ndarray) -> Difference:
    """Returns the difference of two models from which images each has right, bool `[N]`.

    The error is `√((p + q - (p - q)²) / N)`, where p is the share of images that this model alone has
    right, and q the other alone: what McNemar's test looks at.
    """
    differences = right.astype(np.float64) - other
    error = differences.std() / len(differences) ** 0.5
    return Difference(float(differences.mean()), float(error))


def evaluate_logits(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Returns the figures of logits `[N, classes]` for labels `[N]`; see `evaluate_outputs`."""
    return evaluate_outputs(logits, labels, LOGITS)


def evaluate_outputs(outputs: np.ndarray, labels: np.ndarray, output: str) -> Evaluation:
    """Returns the figures of a model.

    Args:
        outputs: What it returned, `[N, classes]`.
        labels: The classes, `[N]`.
        output: What it returns, of `tfqkd.runtime.outputs.OUTPUTS`.

    Raises:
        ValueError: If their lengths differ, or an output is not finite.
    """
    if len(outputs) != len(labels):
        raise ValueError(
            f"There must be logits for every label. Received: {len(outputs)} for {len(labels)} labels."
        )
    if not np.isfinite(outputs).all():
        raise ValueError(
            "Logits must be finite. Received: NaN or infinity. The model diverged: lower its learning rate."
        )
    outputs = outputs.astype(np.float64)
    classes = outputs.shape[1]
    predicted = outputs.argmax(axis=1)
    best = np.argsort(-outputs, axis=1, kind="stable")[:, :5]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Evaluation(
        accuracy=float(np.mean(predicted == labels)),
        top5=float(np.mean((best == labels[:, None]).any(axis=1))) if classes > 5 else None,
        loss=_loss(outputs, labels, output),
        confusion=confusion,
        reliability=_reliability(outputs, labels, output),
    )


def _shares(counts: np.ndarray, of: np.ndarray) -> tuple[float | None, ...]:
    return tuple(
        float(count / whole) if whole else None for count, whole in zip(counts, of, strict=True)
    )


def _reliability(outputs: np.ndarray, labels: np.ndarray, output: str) -> tuple[Bin, ...]:
    shares = probabilities(outputs, output)
    if shares is None:
        return ()
    hit = _hits(shares, labels)
    if output in (LOGITS, SOFTMAX):
        best = shares.argmax(axis=1)[:, np.newaxis]
        shares, hit = (np.take_along_axis(each, best, axis=1) for each in (shares, hit))
    shares, hit = shares.ravel(), hit.ravel()
    # The first part has zero too.
    numbers = np.clip(np.ceil(shares * BINS) - 1, 0, BINS - 1).astype(np.int64)
    found = []
    for number in range(BINS):
        inside = numbers == number
        means = (float(each[inside].mean()) if inside.any() else 0.0 for each in (shares, hit))
        found.append(Bin(int(inside.sum()), *means))
    return tuple(found)


def _hits(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    hit = np.zeros(outputs.shape, bool)
    hit[np.arange(len(labels)), labels] = True
    return hit


def _loss(outputs: np.ndarray, labels: np.ndarray, output: str) -> float | None:
    rows = np.arange(len(labels))
    if output == LOGITS:
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]).mean())
    if output == SOFTMAX:
        return float(-np.log(np.maximum(outputs[rows, labels], _LEAST)).mean())
    hit = _hits(outputs, labels)
    if output == SIGMOID_LOGITS:
        return float(np.logaddexp(0, np.where(hit, -outputs, outputs)).mean())
    if output == SIGMOID:
        return float(-np.log(np.maximum(np.where(hit, outputs, 1 - outputs), _LEAST)).mean())
    return None
