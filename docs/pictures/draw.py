"""Draws the pictures of the pages, as SVG; the same bytes every time.

    python docs/pictures/draw.py         # writes docs/pictures/*.svg

Numbers come from the code itself, from the networks that come with tfqkd, and from the files that measure.py
and classes.py write.
"""

import csv
import json
import os
import pathlib
import tempfile
import zipfile
from typing import Any

import h5py
import matplotlib as mpl
import numpy as np
from boxes import distillation, rooms
from cards import card
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tfqkd.core import schedules, steps, uniform
from tfqkd.models.pretrained import pretrained_file
from tfqkd.reporting.style import COLOURS, INK, label

FOLDER = pathlib.Path(__file__).parent
BLUE, ORANGE, GREEN, RED = COLOURS[:4]
LOOKS = {
    "resnet20_ternary": ("ternary student (ResNet20)", GREEN, "o"),
    "resnet20_w2a8": ("the same of integers alone", RED, "D"),
    "resnet20": ("float student (ResNet20)", BLUE, "s"),
    "wrn20x1.5": ("float teacher (WRN20x1.5)", ORANGE, "^"),
}
"""Name, colour and mark of each network, of both data sets."""
RESULTS = FOLDER.parents[1] / "results" / "accelerator"
TRAINED = (
    ("resnet20_ternary", "annealed_kd.0", "quantized", "annealed_standardized.0"),
    ("resnet20", "annealed_standardized.0", "student", "taught.0"),
    ("wrn20x1.5", "annealed_standardized.0", "teacher", "teacher"),
)
"""Where each was trained: run and role of CIFAR-10, stage of CIFAR-100."""


def kernel() -> np.ndarray:
    """Returns a trained kernel: of stage 2 of the float ResNet20 that comes along."""
    archive = zipfile.ZipFile(pretrained_file("resnet20_cifar10"))
    with tempfile.TemporaryFile() as copy:
        copy.write(archive.read("model.weights.h5"))
        with h5py.File(copy, "r") as weights:
            shapes = []
            weights.visititems(
                lambda _, item: shapes.append(item[()]) if _is_kernel(item) else None
            )
    return shapes[0]


def _is_kernel(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape == (3, 3, 32, 32)


def ternary_weights() -> Figure:
    """A layer's weights before and after."""
    weights = kernel()
    step = steps.optimal_step(weights, bits=2).item()
    figure, (before, after) = plt.subplots(1, 2, figsize=(8.4, 3), sharex=True)
    before.hist(weights.ravel(), bins=120, color=BLUE)
    for edge in (-step / 2, step / 2):
        before.axvline(edge, color=ORANGE, linestyle="--", linewidth=1.2)
    label(before, f"float: {weights.size:,} weights, 32 bits each", "weight", "how many")
    values, counts = np.unique(
        uniform.quantize(weights, np.array(step), bits=2), return_counts=True
    )
    after.bar(values, counts, width=step / 3, color=GREEN)
    for value, count in zip(values, counts, strict=True):
        after.text(value, count, f"{100 * count / weights.size:.0f} %", ha="center", va="bottom")
    after.set_xticks(values, ["-Δ", "0", "Δ"])
    after.set_ylim(0, 1.12 * max(counts))
    label(after, f"ternary: 2 bits each, Δ = {step:.3f}", "weight", "")
    return figure


def straight_through() -> Figure:
    """The quantizer, and the gradient that training takes for its own."""
    figure, (value, gradient) = plt.subplots(1, 2, figsize=(8.4, 3))
    weights = np.linspace(-2, 2, 2001)
    value.plot(weights, weights, color=INK, linewidth=0.8, linestyle=":", label="w")
    value.plot(weights, uniform.quantize(weights, np.array(1.0), 2), color=GREEN, label="Q(w)")
    value.legend(frameon=False)
    label(value, "forward: the ternary weight", "latent weight w / Δ", "Q(w) / Δ")
    gradient.axhline(0, color=BLUE, label="of Q itself: 0, and no training")
    for edge in (-0.5, 0.5):
        gradient.plot([edge, edge], [0, 1.4], color=BLUE, linewidth=1)
    gradient.axhline(1, color=RED, linestyle="--", label="straight through: 1")
    gradient.set_xlim(-2, 2)
    gradient.set_ylim(-0.2, 1.9)
    gradient.legend(frameon=False, loc="upper right")
    label(gradient, "backward: the gradient", "latent weight w / Δ", "∂Q/∂w")
    return figure


def temperature() -> Figure:
    """What a temperature does to a teacher's answer."""
    classes = ("cat", "dog", "deer", "frog", "ship")
    logits = np.array([7.0, 5.0, 2.5, 1.5, -1.0])
    figure, grid = plt.subplots(1, 3, figsize=(8.4, 2.6), sharey=True)
    for axes, degrees in zip(grid, (1, 2, 4), strict=True):
        raised = np.exp(logits / degrees)
        axes.bar(classes, raised / raised.sum(), color=BLUE)
        label(axes, f"T = {degrees}", "", "probability" if degrees == 1 else "")
    return figure


def annealing() -> Figure:
    """The schedules of the coefficient."""
    figure, axes = plt.subplots(figsize=(6.4, 3))
    progress = np.linspace(0, 1, 401)
    drawn = {
        "constant": schedules.Constant(0.5),
        "gradual, the paper's": schedules.Linear(1.0, 0.0),
        "cosine": schedules.Cosine(1.0, 0.0),
        "exponential": schedules.Exponential(1.0, 0.02),
        "step": schedules.Step(1.0, (0.5, 0.75), 0.1),
    }
    for colour, (name, schedule) in zip(COLOURS, drawn.items(), strict=False):
        width = 2.4 if name.startswith("gradual") else 1.2
        axes.plot(progress, [schedule(p) for p in progress], color=colour, lw=width, label=name)
    axes.legend(frameon=False, fontsize=8)
    label(axes, "λ, the weight of the soft loss", "progress of the training", "λ")
    return figure


def networks() -> Figure:
    """Accuracy against bytes and milliseconds, of the networks that come along."""
    rows = _read("networks.json")
    figure, grid = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axes, field in zip(grid, ("bytes", "milliseconds"), strict=True):
        for data, filled in (("cifar10", True), ("cifar100", False)):
            for network, (name, colour, marker) in LOOKS.items():
                row = rows[f"{network}_{data}"]
                axes.plot(
                    row[field],
                    row["accuracy"],
                    marker,
                    markersize=9,
                    markeredgecolor=colour,
                    markerfacecolor=colour if filled else "white",
                    label=f"{name}, {'CIFAR-10' if filled else 'CIFAR-100'}",
                )
    label(
        grid[0], "accuracy against size of the file", "bytes of the LiteRT file", "test accuracy, %"
    )
    label(grid[1], "accuracy against time", "milliseconds an image, one CPU thread", "")
    grid[0].set_xscale("log")
    grid[0].set_xlim(7e4, 4e6)
    grid[0].set_xticks([1e5, 1e6], ["100,000", "1,000,000"])
    grid[1].set_xlim(0, None)
    marks, names = grid[1].get_legend_handles_labels()
    half = len(LOOKS)
    order = [index for each in range(half) for index in (each, half + each)]  # A column a network.
    figure.legend(
        [marks[index] for index in order],
        [names[index] for index in order],
        ncols=half,
        frameon=False,
        fontsize=8.5,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
    )
    return figure


def curves() -> Figure:
    """How the networks that come along were trained: accuracy on the training images by epoch."""
    figure, grid = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
    for network, run, role, stage in TRAINED:
        name, colour, _ = LOOKS[network]
        results = json.loads((RESULTS / "cifar10" / run / "results.json").read_text("utf-8"))
        (product,) = (one["stage"] for one in results["models"] if one["role"] == role)
        history = RESULTS / "cifar10" / "products" / product / "history.csv"
        with history.open(encoding="utf-8") as file:
            small = [float(line["accuracy"]) for line in csv.DictReader(file)]
        kept = json.loads((RESULTS / "cifar100" / f"{stage}.json").read_text("utf-8"))
        for axes, shares in zip(grid, (small, kept["history"]["accuracy"]), strict=True):
            percent = [100 * share for share in shares]
            axes.plot(range(1, len(shares) + 1), percent, color=colour, lw=1.2, label=name)
    label(grid[0], "CIFAR-10", "epoch of its stage", "accuracy on training images, %")
    label(grid[1], "CIFAR-100", "epoch of its stage", "")
    grid[1].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


PICTURES = (
    ternary_weights,
    straight_through,
    temperature,
    annealing,
    distillation,
    rooms,
    networks,
    curves,
)


def draw(folder: pathlib.Path) -> None:
    """Writes all pictures."""
    mpl.use("Agg")
    # The fonts that matplotlib brings: in a machine's own ones of the same names letters have other numbers.
    os.environ["MPL_IGNORE_SYSTEM_FONTS"] = "1"
    # Names inside the file by a hash, and no date: the same bytes from the same numbers.
    with mpl.rc_context({"svg.hashsalt": "tfqkd", "font.size": 9}):
        for picture in PICTURES:
            _save(picture(), folder / f"{picture.__name__}.svg")
        measured, classes = _read("networks.json"), _read("classes.json")
        with mpl.rc_context({"svg.fonttype": "none"}):  # Text as text: a third of the bytes.
            for name in measured:
                _save(card(name, measured, classes), folder / f"{name}.svg")


def _save(figure: Figure, file: pathlib.Path) -> None:
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    draw(FOLDER)
