"""Draws the pictures of the pages, as SVG; the same bytes every time.

    python docs/pictures/draw.py         # writes docs/pictures/*.svg

Numbers come from the code itself, from the networks that come with tfqkd, and from networks.json.
"""

import json
import pathlib
import tempfile
import zipfile

import h5py
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tfqkd.core import schedules, steps, uniform
from tfqkd.models.pretrained import pretrained_file
from tfqkd.reporting.style import COLOURS, INK, label

FOLDER = pathlib.Path(__file__).parent
BLUE, ORANGE, GREEN, RED = COLOURS[:4]


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


def distillation() -> Figure:
    """Who learns what from whom."""
    figure, axes = _blank(8.4, 3.2)
    boxes = {
        "images": (0.2, 1.25, 1.1, "#eeeeee"),
        "teacher\nfloat, frozen": (2.0, 2.2, 1.6, "#cfe3f1"),
        "student\nternary weights": (2.0, 0.3, 1.6, "#cdeae0"),
        "soft loss\nT² · H(p_T, p_S)": (4.9, 2.2, 1.8, "#fbe6c0"),
        "hard loss\nH(y, p_S)": (4.9, 0.3, 1.8, "#fbe6c0"),
        "loss\n(1-λ)·hard + λ·soft": (7.4, 1.25, 1.9, "#f6d5c5"),
        "labels y": (4.9, -0.75, 1.8, "#eeeeee"),
    }
    for text, (x, y, width, colour) in boxes.items():
        _box(axes, x, y, width, 0.75, colour, text)
    _arrow(axes, (1.3, 1.75), (2.0, 2.5))
    _arrow(axes, (1.3, 1.5), (2.0, 0.75))
    _arrow(axes, (3.6, 2.57), (4.9, 2.57), "softmax at T")
    _arrow(axes, (3.6, 0.68), (4.9, 0.68), "softmax")
    _arrow(axes, (3.6, 0.85), (4.9, 2.35))
    _arrow(axes, (5.8, 0.0), (5.8, 0.3))
    _arrow(axes, (6.7, 2.5), (7.4, 1.85))
    _arrow(axes, (6.7, 0.75), (7.4, 1.4))
    axes.set_xlim(0, 9.5)
    axes.set_ylim(-0.9, 3.1)
    return figure


def rooms() -> Figure:
    """The rooms of the package; an import points down only."""
    figure, axes = _blank(8.4, 6.4)
    floors = (
        ("cli", "one module a command; bin/ calls it"),
        ("reporting", "tables, figures and pages from what runs wrote"),
        ("study", "settings × seeds, over Optuna"),
        ("training", "a run is a list of stages; asks a front, imports no Keras"),
        ("recipe", "what a run is asked for: settings, each declared once"),
        ("export    progress", "from a model to a file, read back and run before it appears"),
        ("methods", "one file a method: settings and hooks around a stage's training"),
    )
    height = 0.62
    for index, (name, text) in enumerate(floors):
        _floor(axes, 9.3 - index * (height + 0.14), name, text)
    y = 9.3 - len(floors) * (height + 0.14)
    _box(axes, 0.2, y - 0.5, 9.0, 1.12, "#f7f7f7", "")
    axes.text(0.4, y + 0.32, "fronts", fontweight="bold", fontsize=9, color=INK, va="center")
    axes.text(
        2.2, y + 0.32, "what both do without their Keras", fontsize=8.5, color=INK, va="center"
    )
    _box(axes, 0.6, y - 0.4, 3.6, 0.5, "#fbe6c0", "tfmot: tf_keras through tfmot")
    _box(axes, 4.5, y - 0.4, 4.5, 0.5, "#fbe6c0", "keras3: Keras 3 on TensorFlow, JAX, PyTorch")
    below = (
        ("models", "networks, built with the Keras module that they are given"),
        ("data", "images as arrays, without a framework"),
        ("runtime", "loads and runs exported files, without training code"),
        ("core", "the maths: quantizers, losses, schedules; imports NumPy alone"),
        ("storage tables process", "atomic writes, locks, digests; signals, resources"),
    )
    for index, (name, text) in enumerate(below):
        _floor(axes, y - 1.26 - index * (height + 0.14), name, text)
    axes.add_patch(
        FancyArrowPatch(
            (9.65, 9.9), (9.65, 0.2), arrowstyle="-|>", mutation_scale=14, color=INK, linewidth=1.2
        )
    )
    axes.text(9.9, 5, "imports point down only", rotation=270, va="center", fontsize=9, color=INK)
    axes.set_xlim(0, 10.2)
    axes.set_ylim(-0.9 - 0.1, 10.1)
    return figure


def networks() -> Figure:
    """Accuracy against bytes and milliseconds, of the networks that come along."""
    rows = json.loads((FOLDER / "networks.json").read_text(encoding="utf-8"))
    looks = {
        "resnet20_ternary": ("ternary student (ResNet20)", GREEN, "o"),
        "resnet20": ("float student (ResNet20)", BLUE, "s"),
        "wrn20x1.5": ("float teacher (WRN20x1.5)", ORANGE, "^"),
    }
    figure, grid = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axes, field in zip(grid, ("bytes", "milliseconds"), strict=True):
        for data, filled in (("cifar10", True), ("cifar100", False)):
            for network, (name, colour, marker) in looks.items():
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
    order = [0, 3, 1, 4, 2, 5]  # A column for each network.
    figure.legend(
        [marks[index] for index in order],
        [names[index] for index in order],
        ncols=3,
        frameon=False,
        fontsize=8.5,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
    )
    return figure


def _blank(width: float, height: float) -> tuple[Figure, plt.Axes]:
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set_axis_off()
    return figure, axes


def _box(axes: plt.Axes, x: float, y: float, w: float, h: float, colour: str, text: str) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(
        FancyBboxPatch((x, y), w, h, boxstyle=style, facecolor=colour, edgecolor=INK, lw=0.7)
    )
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=8.5, color=INK)


def _floor(axes: plt.Axes, y: float, name: str, text: str) -> None:
    _box(axes, 0.2, y, 9.0, 0.62, "#cfe3f1", "")
    axes.text(0.4, y + 0.31, name, fontweight="bold", fontsize=9, color=INK, va="center")
    axes.text(3.2, y + 0.31, text, fontsize=8.5, color=INK, va="center")


def _arrow(
    axes: plt.Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    text: str = "",
    at: float = 0.5,
) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=INK, linewidth=1)
    )
    x, y = (a + at * (b - a) for a, b in zip(start, end, strict=True))
    axes.text(x, y + 0.12, text, ha="center", fontsize=8, color=INK)


PICTURES = (
    ternary_weights,
    straight_through,
    temperature,
    annealing,
    distillation,
    rooms,
    networks,
)


def draw(folder: pathlib.Path) -> None:
    """Writes all pictures."""
    mpl.use("Agg")
    # Names inside the file by a hash, and no date: the same bytes from the same numbers.
    with mpl.rc_context({"svg.hashsalt": "tfqkd", "font.size": 9}):
        for picture in PICTURES:
            figure = picture()
            file = folder / f"{picture.__name__}.svg"
            figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    draw(FOLDER)
