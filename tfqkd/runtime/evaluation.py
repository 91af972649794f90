"""What a model's outputs are worth on labelled images."""

import dataclasses

import numpy as np

from tfqkd.runtime.outputs import LOGITS, SIGMOID, SIGMOID_LOGITS, SOFTMAX

_LEAST = 1e-7
"""The least probability, as in Keras' losses: float32 may have rounded it to zero."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one split.

    Attributes:
        accuracy: Share of images whose best class is right, 0 to 1.
        top5: Share of images whose label is among the five best classes; None for five classes or fewer.
        loss: Mean cross-entropy of the labels, in nats; None for a model that returns values. By sigmoid each
            class is asked for by itself: the mean over the classes too.
        confusion: Counts, int64 `[classes, classes]`: rows are labels, columns what the model said.
    """

    accuracy: float
    top5: float | None
    loss: float | None
    confusion: np.ndarray


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
    )


def _loss(outputs: np.ndarray, labels: np.ndarray, output: str) -> float | None:
    rows = np.arange(len(labels))
    if output == LOGITS:
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]).mean())
    if output == SOFTMAX:
        return float(-np.log(np.maximum(outputs[rows, labels], _LEAST)).mean())
    hit = np.zeros(outputs.shape, bool)
    hit[rows, labels] = True
    if output == SIGMOID_LOGITS:
        return float(np.logaddexp(0, np.where(hit, -outputs, outputs)).mean())
    if output == SIGMOID:
        return float(-np.log(np.maximum(np.where(hit, outputs, 1 - outputs), _LEAST)).mean())
    return None
