"""What `bin/evaluate` measured of a run, for its page: calibration, and precision and recall by class."""

import pathlib
from typing import Any

import pandas as pd

from tfqkd.reporting.drawings import Drawing, Missing, new_figure
from tfqkd.reporting.page import PageTable
from tfqkd.reporting.style import COLOURS, GRID, MARKERS, label
from tfqkd.storage import read_json

EVALUATION_FILE = "evaluation.json"
_SHARE = (int, float, type(None))
_MODEL = {
    "name": str,
    "accuracy": (int, float),
    "loss": _SHARE,
    "calibration_error": _SHARE,
    "precision": [_SHARE],
    "recall": [_SHARE],
    "reliability": [{"count": int, "probability": _SHARE, "frequency": _SHARE}, ...],
}
_TITLE = "Calibration: what the models say, and how often it is so"


def read_evaluation(directory: pathlib.Path) -> dict[str, Any] | None:
    """Returns what is in a run's `evaluation.json`; None before it was evaluated.

    Raises:
        ValueError: If the file is damaged.
    """
    file = directory / EVALUATION_FILE
    return read_json(file, {"class_names": [str], "models": [_MODEL]}) if file.exists() else None


def evaluated(evaluation: dict[str, Any]) -> PageTable:
    """Returns the models and files with loss and calibration as a table."""
    rows = [
        [
            model["name"],
            f"{100 * model['accuracy']:.2f}",
            "" if model["loss"] is None else f"{model['loss']:.4f}",
            _percent(model["calibration_error"]),
            _percent(_mean(model["precision"])),
            _percent(_mean(model["recall"])),
        ]
        for model in evaluation["models"]
    ]
    headings = ["model or file", "accuracy %", "NLL", "ECE %", "precision %", "recall %"]
    note = (
        "NLL: the negative log-likelihood of the labels, in nats. ECE: the expected calibration error, in 15 "
        "parts. Precision and recall are means over the classes."
    )
    return PageTable("Evaluated on the test images", headings, rows, note)


def by_class(evaluation: dict[str, Any]) -> PageTable:
    """Returns precision and recall of the last model or file, class by class."""
    model = evaluation["models"][-1]
    rows = [
        [name, _percent(precision), _percent(recall)]
        for name, precision, recall in zip(
            evaluation["class_names"], model["precision"], model["recall"], strict=True
        )
    ]
    headings = ["class", "precision %", "recall %"]
    return PageTable(f"By class: {model['name']}", headings, rows)


def draw_reliability(evaluation: dict[str, Any]) -> Drawing | Missing:
    """Draws, for each model and file, how often what it says is so, over the probability that it gives."""
    table = pd.DataFrame(
        {"model": model["name"], **part}
        for model in evaluation["models"]
        for part in model["reliability"]
        if part["count"]
    )
    if table.empty:
        return Missing(_TITLE, "No model returns probabilities.")
    figure = new_figure(6, 5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GRID)
    for number, (name, rows) in enumerate(table.groupby("model", sort=False)):
        axes.plot(
            rows["probability"],
            rows["frequency"],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            label=name,
        )
    label(axes, "", "mean probability of the class that is chosen", "share of them that is right")
    axes.legend(frameon=False, fontsize=8)
    caption = "Below the line a model is surer than it may be. Empty parts are left out."
    return Drawing("reliability", _TITLE, caption, figure, table)


def _mean(shares: list[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"
