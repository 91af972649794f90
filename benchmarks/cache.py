"""The teacher cache against a live teacher: accuracy and time at equal epochs, and the break-even."""

import argparse
import dataclasses
import pathlib
import statistics
import tempfile
import time

from benchmarks.result import Result
from tfqkd.data import Augmentation, ImageData, load
from tfqkd.fronts.tfmot import front
from tfqkd.training.evaluation import evaluate_logits
from tfqkd.training.history import read_history
from tfqkd.training.recipe import Recipe
from tfqkd.training.run import run
from tfqkd.training.teacher_cache import TeacherCache

VIEWS = (1, 4, 16)
SEEDS = (0, 1, 2)


def measure(options: argparse.Namespace) -> Result:
    """Trains a student with a live teacher and with V kept views, for each seed in turn."""

    recipe = Recipe(
        dataset="cifar10" if options.data_dir else "digits",
        data_dir=options.data_dir,
        train_examples=5000 if options.data_dir else 0,
        validation_split=0.1,
        flip=bool(options.data_dir),
        crop_padding=4 if options.data_dir else 1,
        student="cnn16",
        teacher="cnn32",
        teacher_epochs=10,
        student_epochs=10,
        quantized_epochs=20,
        quantized_learning_rate=0.05,
        learning_rate_schedule="cosine",
        temperature=4.0,
        coefficient=0.7,
        schedule="constant",
        pretrain_seed=0,
        formats=(),
    )
    accuracy: dict[int, list[float]] = {views: [] for views in (0, *VIEWS)}
    seconds: dict[int, list[float]] = {views: [] for views in (0, *VIEWS)}
    with tempfile.TemporaryDirectory(prefix="tfqkd-benchmark-") as name:
        directory = pathlib.Path(name)
        data = load(
            recipe.dataset,
            data_dir=recipe.data_dir or None,
            validation_split=recipe.validation_split,
            train_examples=recipe.train_examples,
        )
        building: dict[int, float] = {}
        for seed in SEEDS:
            for views in (0, *VIEWS):
                one = dataclasses.replace(recipe, seed=seed, teacher_views=views)
                path = directory / f"views{views}-seed{seed}"
                results = run(one, path, directory / "products")
                model = path / results["models"][-1]["model"]
                history = read_history(model.parent / "history.csv")
                logits = front.logits(front.load(model), data.validation.images)
                accuracy[views].append(evaluate_logits(logits, data.validation.labels).accuracy)
                # The first epoch also traces the graph.
                seconds[views].append(statistics.median(row["seconds"] for row in history[1:]))
        teacher = next((directory / "products").glob("teacher-*")) / "model.keras"
        for views in VIEWS:
            building[views] = _build(directory / f"alone{views}", teacher, data, recipe, views)
    epochs, live = recipe.quantized_epochs, statistics.median(seconds[0])
    rows = []
    for views in (0, *VIEWS):
        one_run = statistics.median(
            mine / theirs for mine, theirs in zip(seconds[views], seconds[0], strict=True)
        )
        saved = (1 - one_run) * live * epochs
        build = building.get(views, 0.0)
        rows.append(
            (
                f"{views} views" if views else "live teacher, new views",
                _percent(accuracy[views]),
                f"{one_run:.3f}",
                f"{one_run + build / (live * epochs):.3f}" if views else "",
                (f"{build / saved:.1f}" if saved > 0 else "never") if views else "",
            )
        )
    what = (
        f"{recipe.dataset}, {len(data.train):,} images, {recipe.student} taught by {recipe.teacher}"
    )
    return Result(
        "cache",
        f"Teacher cache against a live teacher ({what}, {epochs} epochs)",
        (
            "teacher",
            "validation accuracy %",
            "time, a run with the cache there",
            "with building it",
            "runs to break even",
        ),
        rows,
        (
            "Mean ± standard deviation over 3 seeds; times are multiples of the live teacher's, in turn.",
        ),
        {"accuracy": accuracy, "seconds_per_epoch": seconds, "building": building},
    )


def _percent(shares: list[float]) -> str:
    return f"{100 * statistics.fmean(shares):.2f} ± {100 * statistics.stdev(shares):.2f}"


def _build(
    directory: pathlib.Path, teacher: pathlib.Path, data: ImageData, recipe: Recipe, views: int
) -> float:
    """Returns the seconds that the views take to build."""

    cache = TeacherCache(
        directory,
        front.load(teacher),
        data.train,
        Augmentation(recipe.crop_padding, recipe.flip),
        views,
    )
    begin = time.perf_counter()
    cache.logits()
    return time.perf_counter() - begin
