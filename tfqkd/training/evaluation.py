"""What a model's logits are worth on labelled images."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one split.

    Attributes:
        accuracy: Share of images whose best class is right, 0 to 1.
        top5: Share of images whose label is among the five best classes; of all classes if there are fewer.
        loss: Mean cross-entropy of the labels, in nats.
        confusion: Counts, int64 `[classes, classes]`: rows are labels, columns what the model said.
    """

    accuracy: float
    top5: float
    loss: float
    confusion: np.ndarray


def evaluate_logits(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Returns the figures of logits `[N, classes]` for labels `[N]`.

    Raises:
        ValueError: If their lengths differ, or a logit is not finite.
    """
    if len(logits) != len(labels):
        raise ValueError(
            f"There must be logits for every label. Received: {len(logits)} for {len(labels)} labels."
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            "Logits must be finite. Received: NaN or infinity. The model diverged: lower its learning rate."
        )
    logits = logits.astype(np.float64)
    classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Evaluation(
        accuracy=float(np.mean(predicted == labels)),
        top5=float(np.mean((best == labels[:, None]).any(axis=1))),
        loss=float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        confusion=confusion,
    )
