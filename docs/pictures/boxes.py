"""The pictures made of boxes: who learns what from whom, and the rooms of the package."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tfqkd.reporting.style import INK


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
