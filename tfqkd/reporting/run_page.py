"""The page of a run."""

import os
import pathlib

import pandas as pd

from tfqkd.recipe.flag_file import flag_file
from tfqkd.reporting.drawings import Drawing, Missing, new_figure
from tfqkd.reporting.evaluated import by_class, draw_reliability, evaluated, read_evaluation
from tfqkd.reporting.page import PageText, table_of, write_page
from tfqkd.reporting.results import Row, export_table, results_table, rows_of
from tfqkd.reporting.style import COLOURS, INK, label
from tfqkd.reporting.training_figures import Curve, draw_curves, draw_layers
from tfqkd.storage import read_json
from tfqkd.training.directory import read_recipe
from tfqkd.training.history import read_history
from tfqkd.training.products import HISTORY_FILE, LAYERS_FILE
from tfqkd.training.results import ModelResult, Results

_LAYER = {"layer": str, "bits": int, "zeros": (int, float), "step": (int, float, type(None))}


def write_run_page(directory: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` of a finished run, and its figures as PNG and CSV into `figures`.

    What `bin/evaluate` has measured is in it too.

    Args:
        directory: The run directory.

    Returns:
        The page.

    Raises:
        ValueError: If it is no run directory, or the run is not finished.
    """
    path = pathlib.Path(directory)
    recipe, results = read_recipe(path), Results.read(path)
    student, rows = results.student, rows_of(results)
    evaluation = read_evaluation(path)
    models = table_of("Models", results_table(results), marked=(len(rows) - 1,))
    files = table_of(
        "Exported files", export_table(results.export), "Each was run against the Keras model."
    )
    names = ", ".join(f"{row.label} ({row.models[-1].name})" for row in rows)
    return write_page(
        path,
        f"{student.label.capitalize()}: {student.name} on {recipe.data.dataset}",
        f"The run in {path.name}: {names}.",
        tables=[
            models,
            *([files] if results.export else []),
            *([evaluated(evaluation)] if evaluation else []),
        ],
        figures=[
            _accuracies(rows),
            _curves(path, rows),
            _layers(path, student),
            *([draw_reliability(evaluation)] if evaluation else []),
        ],
        details=[by_class(evaluation)] if evaluation else [],
        texts=[PageText("The recipe, as a flag file of bin/train", flag_file(recipe))],
    )


def _accuracies(rows: list[Row]) -> Drawing:
    table = pd.DataFrame(
        [
            {"model": row.label, "seed": model.seed, "accuracy": model.accuracy}
            for row in rows
            for model in row.models
        ]
    )
    figure = new_figure(10, 0.5 * len(rows) + 1.2)
    axes = figure.subplots()
    values = [100 * row.mean("accuracy") for row in rows]
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(rows))]
    heights = range(len(rows))
    axes.barh(heights, values, color=colours, height=0.6, alpha=0.7)
    low, high = 100 * table["accuracy"].min(), 100 * table["accuracy"].max()
    margin = max(high - low, 1.0)
    for height, row in zip(heights, rows, strict=True):
        if len(row.models) > 1:
            shown = [100 * accuracy for accuracy in row.accuracies]
            axes.plot(shown, [height] * len(shown), "o", color=INK, markersize=4)
        # Beside all points.
        axes.text(high + 0.05 * margin, height, row.accuracy_text(), va="center", color=INK)
    axes.set_yticks(heights, [row.label for row in rows])
    axes.invert_yaxis()
    # Bars that start at zero would hide what is compared; the axis says where it starts.
    start = max(0.0, low - margin)
    axes.set_xlim(start, high + 0.5 * margin)
    label(axes, "", f"test accuracy (%){'; the axis does not start at zero' if start else ''}", "")
    axes.grid(visible=False, axis="y")
    several = any(len(row.models) > 1 for row in rows)
    caption = "Measured once, on all test images."
    caption += " Points are seeds; ± is their sample standard deviation." if several else ""
    return Drawing("accuracies", "Test accuracy", caption, figure, table)


def _curves(path: pathlib.Path, rows: list[Row]) -> Drawing | Missing:
    curves = []
    for row in rows:
        model = row.models[-1]
        history = (path / model.model).with_name(HISTORY_FILE)
        # What is beside a user's own model is none of the run's.
        if model.stage and (epochs := read_history(history)):
            curves.append(Curve(row.label, pd.DataFrame(epochs)))
    if not curves:
        return Missing("Loss and accuracy by epoch", "No stage has trained for an epoch.")
    return draw_curves(curves, "Every stage that was trained; λ is dotted where it is annealed.")


def _layers(path: pathlib.Path, model: ModelResult) -> Drawing | Missing:
    file = (path / model.model).with_name(LAYERS_FILE)
    layers = pd.DataFrame(read_json(file, [_LAYER], file.parent))
    if layers["step"].isna().all():
        return Missing("Layers: zeros and steps", "No layer is quantized.")
    return draw_layers({model.label: layers}, "The quantized layers in the model's order.")
