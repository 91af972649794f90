"""`run(recipe, directory)`: the whole job, from data to exported file."""

import json
import math
import os
import pathlib
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from tfqkd.data.datasets import load
from tfqkd.data.images import ImageData
from tfqkd.export.verification import ExportError
from tfqkd.fronts import choose
from tfqkd.fronts.front import Front
from tfqkd.storage import staged, write_atomically
from tfqkd.training.caller import callers_state_kept
from tfqkd.training.directory import EXPORTED, MEASURED, RunDirectory, read_json
from tfqkd.training.evaluation import evaluate_logits
from tfqkd.training.fitting import HISTORY_FILE
from tfqkd.training.history import read_history
from tfqkd.training.models import model_key
from tfqkd.training.places import place_of
from tfqkd.training.plans import require_capable
from tfqkd.training.precision import with_precision
from tfqkd.training.products import Products
from tfqkd.training.progress import MakeProgress, NoProgress, ProgressBar
from tfqkd.training.recipe import Recipe
from tfqkd.training.resources import explained
from tfqkd.training.settings import FLOAT_BITS
from tfqkd.training.stages import (
    LAYERS_FILE,
    MODEL_FILE,
    REPORTS_FILE,
    SUMMARY_FILE,
    Stages,
    counted_replicas,
)

TEACHER_ROLE = "float teacher"
"""Of a single teacher; with a number each of several."""
EXPORT_DIRECTORY = "export"
PLOT_FILE = "run.png"
_MEASURED, _FIGURES_FILE = "measured", "figures.json"
_LAYER = {"shape": [int], "bits": int}


def run(
    recipe: Recipe,
    directory: str | os.PathLike[str],
    products: str | os.PathLike[str] | None = None,
    command: list[str] | None = None,
    *,
    data: ImageData | None = None,
    callbacks: Sequence[Any] = (),
    progress: MakeProgress = ProgressBar,
) -> dict[str, Any]:
    """Runs a recipe: teacher, float student, quantized student, export, evaluation on the test images.

    A stage that is done is not run again; one that was interrupted goes on after its last checkpoint; a run
    that is done returns its results at once.

    The caller's dtype policy, and the states of Python's and NumPy's random generators, are afterwards what
    they were, also after an error. TensorFlow and Keras keep what they cannot give back: the seed that
    `tf.random.set_seed` sets is the last stage's; Keras' names and graph are cleared (`clear_session`);
    operations stay deterministic after a recipe with `deterministic`, and the process a member of its cluster
    after one with `strategy="multi_worker"`.

    Args:
        recipe: What to do.
        directory: The run directory. It ends up with the recipe, `results.json`, `run.png`, the models, their
            histories and TensorBoard logs (in `products`), and the exported files (in `export`).
        products: Where the stages' products are kept, by fingerprint; `directory/products` by default. Give
            several runs the same one to share teachers and float students.
        command: The command line that asked for the run, kept in the directory.
        data: What `load_data(recipe)` returned, where several runs share it; loaded if None.
        callbacks: Of the quantized stage's training: watchers (`tfqkd.fronts.trainer.Watcher`) or the front's
            own callbacks; one may raise to give the run up.
        progress: Makes the watcher that shows the progress of a stage.

    Returns:
        What `results.json` holds: `models`, a list of the models in the order of the stages, each with name,
        role, parameters, test accuracy, top5 and loss (fractions; nats), and its product, the last one with
        the share of its parameters that are quantized; `export`, the reports of the exported files.

    Raises:
        ValueError: If the directory belongs to another recipe, was begun on another number of devices, or a
            model does not fit the data; before any training.
        RuntimeError: If another process works on the directory, or the disk or memory refuses.
    """
    path = pathlib.Path(directory)
    run_directory = RunDirectory(path, recipe)
    done = run_directory.results()
    if done:
        return done
    front = choose()
    require_capable(front.CAPABILITIES, recipe)
    with callers_state_kept(front), explained():
        if recipe.deterministic:
            front.make_deterministic()
        # Workers must be joined before anything is computed.
        place = place_of(recipe, front)
        replicas = counted_replicas(recipe, place)
        run_directory.require_replicas(replicas)
        workers = place.workers
        recipe = run_directory.recipe = with_precision(run_directory.recipe, front, workers)
        with run_directory.locked() if workers.is_chief else nullcontext():
            data = data or load_data(recipe)
            directory = pathlib.Path(products) if products else path / "products"
            stages = Stages(
                recipe,
                data,
                Products(directory, workers),
                front,
                place,
                tuple(callbacks),
                progress if workers.is_chief else NoProgress,
            )
            stages.check()
            if workers.is_chief:
                run_directory.begin(command, replicas)
            models = [
                *_named_teachers(stages.teachers()),
                ("float student", stages.student()),
                (recipe.title, stages.quantized() / MODEL_FILE),
            ]
            if workers.is_chief:
                _finish(run_directory, stages, models, Products(directory))
            workers.wait()
    results = run_directory.results()
    assert results is not None
    return results


def _finish(
    run_directory: RunDirectory,
    stages: Stages,
    models: list[tuple[str, pathlib.Path]],
    store: Products,
) -> None:
    """Exports, measures and plots what was trained."""
    from tfqkd.reporting.figures import plot_run  # noqa: PLC0415 (slow to import: training starts first)

    path, recipe, data = run_directory.path, run_directory.recipe, stages.data
    reports = []
    if recipe.formats:
        try:
            exported = stages.exported(store)
        except ExportError as error:
            for report in error.reports:
                _keep(pathlib.Path(report.path), path / EXPORT_DIRECTORY)
            raise ExportError(
                f"{error} All is trained: leave what fails out of --formats, and the same command goes on.",
                error.reports,
            ) from error
        reports = read_json(exported / REPORTS_FILE, [EXPORTED], exported)
        # Whole or not there, and on the disk before the results say that the run is done.
        with staged(path / EXPORT_DIRECTORY) as draft:
            shutil.copytree(exported, draft)
    summary = (stages.quantized() / SUMMARY_FILE).read_text(encoding="utf-8")
    write_atomically(path / SUMMARY_FILE, summary)
    measured = [_measure(role, model, data, stages.front, store, path) for role, model in models]
    layers = read_json(stages.quantized() / LAYERS_FILE, [_LAYER], stages.quantized())
    low_bits = sum(math.prod(layer["shape"]) for layer in layers if layer["bits"] < FLOAT_BITS)
    measured[-1]["quantized_share"] = low_bits / measured[-1]["parameters"]
    results = {
        "models": measured,
        "export": reports,
        "class_names": list(data.class_names),
    }
    histories = {
        role: read_history(model.parent / HISTORY_FILE)
        for role, model in models
        # What lies beside a user's own model is none of the run's.
        if model.is_relative_to(store.directory)
    }
    plot_run(histories, results["models"], path / PLOT_FILE)
    run_directory.write_results(results)


def _keep(file: pathlib.Path, directory: pathlib.Path) -> None:
    """Copies an exported file to a directory, where it appears whole."""
    with staged(directory / file.name) as draft:
        if file.is_dir():
            shutil.copytree(file, draft)
        else:
            shutil.copy(file, draft)


def _named_teachers(models: list[pathlib.Path]) -> list[tuple[str, pathlib.Path]]:
    if len(models) == 1:
        return [(TEACHER_ROLE, models[0])]
    return [(f"{TEACHER_ROLE} {number}", model) for number, model in enumerate(models, start=1)]


def load_data(recipe: Recipe) -> ImageData:
    """Returns the data set of a recipe."""
    return load(
        recipe.dataset,
        data_dir=recipe.data_dir or None,
        download=recipe.download,
        validation_split=recipe.validation_split,
        train_examples=recipe.train_examples,
        image_size=recipe.image_size,
    )


def _measure(
    role: str,
    path: pathlib.Path,
    data: ImageData,
    front: Front,
    store: Products,
    run_path: pathlib.Path,
) -> dict[str, Any]:
    def make(partial: pathlib.Path) -> None:
        front.set_precision("float32")
        model = front.load(path)
        figures = evaluate_logits(front.logits(model, data.test.images), data.test.labels)
        facts = front.facts(model)
        measured = {
            "name": facts.name,
            "parameters": facts.parameters,
            "accuracy": figures.accuracy,
            "top5": figures.top5,
            "loss": figures.loss,
        }
        (partial / _FIGURES_FILE).write_text(json.dumps(measured, indent=2) + "\n")

    # Runs that share a teacher measure it once.
    measured = store.get(_MEASURED, {"model": model_key(path), "data": data.fingerprint}, make)
    return {
        "role": role,
        **read_json(measured / _FIGURES_FILE, MEASURED, measured),
        "model": os.path.relpath(path, run_path),
    }
