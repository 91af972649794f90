"""`run(recipe, directory)`: the whole job, from data to exported file."""

import json
import math
import os
import pathlib
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from tfqkd.data.images import ImageData
from tfqkd.export.verification import ExportError
from tfqkd.fronts.foreign import ForeignTeacher
from tfqkd.process.generators import generators_kept
from tfqkd.process.resources import explained
from tfqkd.progress import MakeProgress, NoProgress, ProgressBar
from tfqkd.recipe.recipe import Recipe
from tfqkd.runtime.evaluation import evaluate_logits
from tfqkd.storage import read_json, staged, write_atomically
from tfqkd.training.checking import check
from tfqkd.training.directory import RunDirectory, Uses
from tfqkd.training.execution import (
    execution_of,
    formats_of,
    front_of,
    load_data,
    load_general,
    options_of,
    require_capable,
    strategy_of,
    with_precision,
    with_stream,
)
from tfqkd.training.exporting import export_key, exported
from tfqkd.training.format_trial import FormatTrialWatcher
from tfqkd.training.making import Maker, counted_replicas
from tfqkd.training.presets import PAPER, Preset, student_stage
from tfqkd.training.products import (
    EXPORT,
    FIGURES_FILE,
    LAYERS_FILE,
    MEASURED,
    REPORTS_FILE,
    SUMMARY_FILE,
    Products,
)
from tfqkd.training.results import EXPORTED, MEASURED_MODEL, ExportedFile, ModelResult, Results
from tfqkd.training.stage import ModelFile, Source, Stage, walk

EXPORT_DIRECTORY = "export"
_LAYER = {"shape": [int], "bits": int}
_FLOAT_BITS = 32


def run(
    recipe: Recipe,
    directory: str | os.PathLike[str],
    products: str | os.PathLike[str] | None = None,
    command: list[str] | None = None,
    *,
    preset: Preset = PAPER,
    data: ImageData | None = None,
    callbacks: Sequence[Any] = (),
    progress: MakeProgress = ProgressBar,
) -> Results:
    """Runs a recipe: teacher, float student, quantized student, export, evaluation on the test images.

    A stage that is done is not run again; one that was interrupted goes on after its last checkpoint; a run
    that is done returns its results at once.

    The caller's dtype policy, and the states of Python's and NumPy's random generators, are afterwards what
    they were, also after an error. TensorFlow and Keras keep what they cannot give back: the seed that
    `tf.random.set_seed` sets is the last stage's; Keras' names and graph are cleared (`clear_session`);
    operations stay deterministic after a recipe with `deterministic`, and the process a member of its cluster
    after one with `run.strategy="multi_worker"`.

    Args:
        recipe: What to do.
        directory: The run directory. It ends up with the recipe, `results.json`, the models, their histories
            and TensorBoard logs (in `products`), and the exported files (in `export`).
        products: Where the stages' products are kept, by fingerprint; `directory/products` by default. Give
            several runs the same one to share teachers and float students.
        command: The command line that asked for the run, kept in the directory.
        preset: Which stages there are: the paper's, or those of `tfqkd.training.presets`.
        data: What `load_data(recipe)` returned, where several runs share it; loaded if None.
        callbacks: Of the last stage's training: watchers (`tfqkd.fronts.trainer.Watcher`) or the front's
            own callbacks; one may raise to give the run up.
        progress: Makes the watcher that shows the progress of a stage.

    Returns:
        What `results.json` holds: the models in the order of the stages, and the exported files.

    Raises:
        ValueError: If the directory belongs to another recipe, was begun on another number of devices, or a
            model does not fit the data; before any training.
        ExportError: If a format cannot hold the student: before any training, or with Keras 3 in the first
            epoch of one, of which nothing is kept.
        RuntimeError: If another process works on the directory, or the disk or memory refuses.
    """
    path = pathlib.Path(directory)
    run_directory = RunDirectory(path, recipe, preset)
    done = run_directory.results()
    if done:
        return done
    front, execution = front_of(recipe), execution_of(recipe)
    require_capable(front.CAPABILITIES, recipe)
    with generators_kept(), front.state_kept(), explained(), FormatTrialWatcher() as trial:
        if execution.deterministic:
            front.make_deterministic()
        # Workers must be joined before anything is computed.
        strategy = strategy_of(recipe, front)
        workers = strategy.workers
        recipe = run_directory.recipe
        recipe = run_directory.recipe = with_precision(recipe, front, workers)
        stages = preset(recipe)
        replicas = counted_replicas(student_stage(stages).training, strategy)
        run_directory.require_replicas(replicas)
        with run_directory.locked() if workers.is_chief else nullcontext():
            data = data or load_data(recipe)
            recipe = run_directory.recipe = with_stream(recipe, data)
            store = Products(pathlib.Path(products) if products else path / "products", workers)
            watched = progress if workers.is_chief else NoProgress
            general = load_general(recipe, data)
            maker = Maker(data, store, front, strategy, execution, watched, general, trial)
            check(stages, formats_of(recipe), maker, options_of(recipe))
            if workers.is_chief:
                uses = _uses(stages, recipe, maker)
                # A mistaken recipe takes no directory.
                trial.then(lambda: run_directory.begin(command, replicas, uses))
            for stage in stages:
                maker.make(stage, callbacks if stage is stages[-1] else ())
            trial.require()
            if workers.is_chief:
                _finish(run_directory, stages, maker)
            workers.wait()
    results = run_directory.results()
    assert results is not None
    return results


def _uses(stages: tuple[Source, ...], recipe: Recipe, maker: Maker) -> Uses:
    every = list(walk(stages))
    names = [maker.name(source) for source in every]
    last, views = student_stage(stages), [0]
    if formats_of(recipe):
        key = export_key(maker, last, formats_of(recipe), options_of(recipe))
        names.append(maker.products.path(EXPORT, key).name)
    views += [
        each.training.fixed_views for each in every if isinstance(each, Stage) and each.teachers
    ]
    return Uses(tuple(names), max(views))


def _finish(run_directory: RunDirectory, stages: tuple[Source, ...], maker: Maker) -> None:
    """Exports and measures what was trained."""
    path, last = run_directory.path, maker.path(stages[-1]).parent
    # The chief makes what follows by itself.
    store = Products(maker.products.directory)
    files = _export(run_directory, student_stage(stages), maker, store)
    summary = (last / SUMMARY_FILE).read_text(encoding="utf-8")
    write_atomically(path / SUMMARY_FILE, summary)
    results = Results(
        models=tuple(_measure(source, maker, store, path) for source in stages),
        export=files,
        class_names=tuple(maker.data.class_names),
    )
    run_directory.write_results(results)


def _export(
    run_directory: RunDirectory, stage: Stage, maker: Maker, store: Products
) -> tuple[ExportedFile, ...]:
    path, formats = run_directory.path, formats_of(run_directory.recipe)
    if not formats:
        return ()
    try:
        product = exported(maker, stage, formats, store, options_of(run_directory.recipe))
    except ExportError as error:
        for report in error.reports:
            _keep(pathlib.Path(report.path), path / EXPORT_DIRECTORY)
        raise ExportError(
            f"{error} All is trained: leave what fails out of --formats, and the same command goes on.",
            error.reports,
        ) from error
    reports = read_json(product / REPORTS_FILE, [EXPORTED], product)
    # Whole or not there, and on the disk before the results say that the run is done.
    with staged(path / EXPORT_DIRECTORY) as draft:
        shutil.copytree(product, draft)
    return tuple(ExportedFile.of(report) for report in reports)


def _keep(file: pathlib.Path, directory: pathlib.Path) -> None:
    """Copies an exported file to a directory, where it appears whole."""
    with staged(directory / file.name) as draft:
        if file.is_dir():
            shutil.copytree(file, draft)
        else:
            shutil.copy(file, draft)


def _measure(source: Source, maker: Maker, store: Products, run_path: pathlib.Path) -> ModelResult:
    front, data, path = maker.front, maker.data, maker.path(source)

    def make(partial: pathlib.Path) -> None:
        front.set_precision("float32")
        foreign = ForeignTeacher(path) if source.is_foreign else None
        model = None if foreign else front.load(path)
        said = (
            foreign.logits(data.test.images) if foreign else front.logits(model, data.test.images)
        )
        figures = evaluate_logits(said, data.test.labels)
        facts = foreign.facts() if foreign else front.facts(model)
        measured = {
            "name": facts.name,
            "parameters": facts.parameters,
            "accuracy": figures.accuracy,
            "top5": figures.top5,
            "loss": figures.loss,
        }
        (partial / FIGURES_FILE).write_text(json.dumps(measured, indent=2) + "\n")

    # Runs that share a teacher measure it once.
    key = {"model": maker.name(source), "data": data.fingerprint}
    measured = store.get(MEASURED, key, make, f"figures of {source.label} ({source.network})")
    figures = read_json(measured / FIGURES_FILE, MEASURED_MODEL, measured)
    figures |= {
        "label": source.label,
        "role": source.role,
        "model": os.path.relpath(path, run_path),
    }
    if isinstance(source, ModelFile):
        return ModelResult(**figures)
    layers = read_json(path.parent / LAYERS_FILE, [_LAYER], path.parent)
    low_bits = sum(math.prod(each["shape"]) for each in layers if each["bits"] < _FLOAT_BITS)
    share = low_bits / figures["parameters"]
    return ModelResult(**figures, stage=path.parent.name, seed=source.seed, quantized_share=share)
