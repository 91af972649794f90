"""The page of a single run."""

import os
import pathlib
from typing import Any

import pandas as pd

from tfqkd.reporting.drawings import Drawing, Missing, new_figure
from tfqkd.reporting.page import PageTable, PageText, write_page
from tfqkd.reporting.results import has_top5
from tfqkd.reporting.style import COLOURS, label
from tfqkd.reporting.training_figures import Curve, draw_curves, draw_layers
from tfqkd.training.directory import RunDirectory, read_json, read_recipe
from tfqkd.training.flag_file import flag_file

# As the stages write them; what reads them here needs no TensorFlow.
_HISTORY_FILE, _LAYERS_FILE = "history.csv", "quantization.json"
_PRODUCT_FILE = "product.json"
_LAYER = {"layer": str, "bits": int, "zeros": (int, float), "step": (int, float, type(None))}


def write_run_page(directory: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` of a finished run, and its figures as PNG and CSV into `figures`.

    Args:
        directory: The run directory.

    Returns:
        The page.

    Raises:
        ValueError: If it is no run directory, or the run is not finished.
    """
    path = pathlib.Path(directory)
    recipe = read_recipe(path)
    results = RunDirectory(path, recipe).results()
    if results is None:
        raise ValueError(
            f"A page is written of a finished run. Received: {path}, which is not. "
            "Finish it with the same bin/train command."
        )
    models = results["models"]
    return write_page(
        path,
        f"{recipe.title.capitalize()}: {recipe.student} on {recipe.dataset}",
        f"The run in {path.name}: {_names(models)}.",
        tables=[_models(models), *([_exports(results["export"])] if results["export"] else [])],
        figures=[_accuracies(models), _curves(path, models), _layers(path, models[-1])],
        texts=[PageText("The recipe, as a flag file of bin/train", flag_file(recipe))],
    )


def _names(models: list[dict[str, Any]]) -> str:
    return ", ".join(f"{model['role']} ({model['name']})" for model in models)


def _models(models: list[dict[str, Any]]) -> PageTable:
    top5 = has_top5(models)
    rows = [
        [
            model["role"],
            model["name"],
            f"{model['parameters']:,}",
            f"{100 * model['accuracy']:.2f}",
            *([f"{100 * model['top5']:.2f}"] if top5 else []),
            f"{model['loss']:.4f}",
        ]
        for model in models
    ]
    headings = ["model", "network", "parameters", "test accuracy %"]
    headings += ["top-5 %", "loss"] if top5 else ["loss"]
    return PageTable("Models", headings, rows, "", (len(rows) - 1,))


def _exports(reports: list[dict[str, Any]]) -> PageTable:
    rows = [
        [
            report["path"],
            report["format"],
            f"{report['bytes']:,}",
            f"{report['max_difference']:.1e}",
            f"{100 * report['agreement']:.1f}",
        ]
        for report in reports
    ]
    headings = ("file", "format", "bytes", "max difference", "same top-1 %")
    return PageTable("Exported files", headings, rows, "Each was run against the Keras model.")


def _accuracies(models: list[dict[str, Any]]) -> Drawing:
    table = pd.DataFrame(
        {"model": [m["role"] for m in models], "accuracy": [m["accuracy"] for m in models]}
    )
    figure = new_figure(10, 0.5 * len(table) + 1.2)
    axes = figure.subplots()
    values = 100 * table["accuracy"]
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(table))]
    bars = axes.barh(table["model"], values, color=colours, height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=4)
    axes.invert_yaxis()
    margin = max(values.max() - values.min(), 1.0)
    # Bars that start at zero would hide what is compared; the axis says where it starts.
    start = max(0.0, values.min() - margin)
    axes.set_xlim(start, values.max() + 0.5 * margin)
    label(axes, "", f"test accuracy (%){'; the axis does not start at zero' if start else ''}", "")
    axes.grid(visible=False, axis="y")
    return Drawing(
        "accuracies", "Test accuracy", "Measured once, on all test images.", figure, table
    )


def _curves(path: pathlib.Path, models: list[dict[str, Any]]) -> Drawing | Missing:
    curves = []
    for model in models:
        product = (path / model["model"]).parent
        history = product / _HISTORY_FILE
        # What lies beside a user's own model is none of the run's.
        if (product / _PRODUCT_FILE).exists() and history.exists() and history.stat().st_size:
            curves.append(Curve(model["role"], pd.read_csv(history)))
    if not curves:
        return Missing("Loss and accuracy by epoch", "No stage has trained for an epoch.")
    return draw_curves(curves, "Every stage that was trained; λ is dotted where it is annealed.")


def _layers(path: pathlib.Path, model: dict[str, Any]) -> Drawing | Missing:
    file = (path / model["model"]).parent / _LAYERS_FILE
    layers = pd.DataFrame(read_json(file, [_LAYER], file.parent))
    if layers["step"].isna().all():
        return Missing("Layers: zeros and steps", "No layer is quantized.")
    return draw_layers({model["role"]: layers}, "The quantized layers in the model's order.")
