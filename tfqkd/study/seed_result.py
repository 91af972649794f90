"""What a trial leaves in the storage for each seed: all that a report needs, wherever it is written."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

from tfqkd.training.history import read_history
from tfqkd.training.products import HISTORY_FILE, LAYERS_FILE
from tfqkd.training.results import Results

_CURVES = ("epoch", "loss", "hard_loss", "soft_loss", "accuracy", "val_accuracy", "coefficient")
_LAYER = ("layer", "bits", "zeros", "step")
# A text of MySQL holds 64 KiB: that is some 900 epochs with all curves, and the layers want room too.
_MOST_POINTS = 400


@dataclasses.dataclass(frozen=True)
class SeedResult:
    """One seed of a trial.

    Attributes:
        validation_accuracy: Of the student that was kept, 0 to 1: what the last epoch left may have been
            averaged, or given other statistics, since.
        test_accuracy: Of the same student, 0 to 1; never used to choose.
        float_accuracy: Test accuracy of the float student.
        teacher_accuracy: Mean test accuracy of the teachers; None without one.
        teacher_parameters: Parameters of all teachers together; None without one.
        teacher_entropy: Mean entropy of their softened outputs on the validation images, in nats.
        directory: The run directory, as the worker saw it.
        curves: The history of the quantized stage by column, one value an epoch; of a long training some
            hundred epochs, evenly spaced.
        layers: Name, bits, share of zeros and step of every layer with a kernel.
        seconds: What an epoch of the quantized stage took, in the median; None of an older study.
    """

    validation_accuracy: float
    test_accuracy: float
    float_accuracy: float
    teacher_accuracy: float | None
    teacher_parameters: int | None
    teacher_entropy: float | None
    directory: str
    curves: dict[str, list[float]]
    layers: list[dict[str, Any]]
    seconds: float | None = None


def read_seed_result(
    path: pathlib.Path, results: Results, validation_accuracy: float
) -> SeedResult:
    """Reads the result of a finished run; the teacher's entropy is left open.

    Args:
        path: The run directory.
        results: What `run` returned.
        validation_accuracy: Of the last of its models.
    """
    teachers = results.teachers
    product = (path / results.student.model).parent
    history = read_history(product / HISTORY_FILE)
    rows = thinned(history)
    layers = json.loads((product / LAYERS_FILE).read_text())
    return SeedResult(
        validation_accuracy=validation_accuracy,
        test_accuracy=results.student.accuracy,
        float_accuracy=results.float_student.accuracy,
        teacher_accuracy=float(np.mean([m.accuracy for m in teachers])) if teachers else None,
        teacher_parameters=sum(m.parameters for m in teachers) if teachers else None,
        teacher_entropy=None,
        directory=str(path),
        curves={name: [round(row[name], 6) for row in rows] for name in _CURVES if name in rows[0]},
        layers=[{name: layer[name] for name in _LAYER} for layer in layers],
        seconds=statistics.median(row["seconds"] for row in history),
    )


def thinned(rows: Sequence[Any]) -> list[Any]:
    """Returns at most 400 rows, evenly spaced, the first and the last among them."""
    if len(rows) <= _MOST_POINTS:
        return list(rows)
    return [
        rows[index] for index in np.linspace(0, len(rows) - 1, _MOST_POINTS).round().astype(int)
    ]


def softened_entropy(logits: np.ndarray, temperature: float) -> float:
    """Returns the mean entropy of softmax(z / T) in nats: 0 for sure outputs, ln C for even ones.

    Args:
        logits: `[N, classes]`.
        temperature: T.
    """
    logs = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-(np.exp(logs) * logs).sum(axis=1).mean())
