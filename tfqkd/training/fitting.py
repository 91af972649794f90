"""A stage's training: resumed at its checkpoint, with the watchers that every stage has."""

import pathlib
from collections.abc import Sequence
from typing import Any

from tfqkd.core.schedulers import CoefficientScheduler
from tfqkd.data.images import ImageData
from tfqkd.fronts.front import Front, Model
from tfqkd.fronts.trainer import Logits
from tfqkd.fronts.workers import Workers
from tfqkd.training.checkpoints import Checkpoints
from tfqkd.training.history import History
from tfqkd.training.interruption import deferred
from tfqkd.training.plans import coefficient_schedule, fitting_of
from tfqkd.training.products import CHECKPOINTS
from tfqkd.training.progress import MakeProgress
from tfqkd.training.recipe import Recipe
from tfqkd.training.saving import Interval, SaveCheckpoints
from tfqkd.training.settings import QUANTIZED

HISTORY_FILE = "history.csv"


def fit(
    front: Front,
    network: Model,
    directory: pathlib.Path,
    *,
    recipe: Recipe,
    stage: str,
    title: str,
    data: ImageData,
    workers: Workers,
    progress: MakeProgress,
    callbacks: Sequence[Any] = (),
    teacher_logits: Sequence[Logits] = (),
) -> None:
    """Trains a network as a recipe says, or goes on where an interrupted call stopped.

    Args:
        front: Whose network it is.
        network: A model, or what `front.taught` returned. Made within the place's scope.
        directory: Where checkpoints, history and logs of TensorBoard are kept.
        recipe: How to train.
        stage: Of the recipe: whose epochs, learning rate and seed are taken.
        title: Of the progress bar.
        data: What to train on.
        workers: Those that train together.
        progress: Makes the watcher that shows the progress.
        callbacks: Besides those that every stage has: watchers, or the front's own callbacks.
        teacher_logits: For each fixed view the teacher's logits, of shape (examples, classes).

    Raises:
        ValueError: If the history lacks an epoch of the checkpoint.
        RuntimeError: If the workers do not hold the same checkpoints.
    """
    fixed_views = recipe.teacher_views if stage == QUANTIZED or teacher_logits else 0
    fitting = fitting_of(recipe, stage, data, title, fixed_views)
    epochs, steps = fitting.epochs, fitting.steps
    trainer = front.trainer(network, fitting, data)
    checkpoints = Checkpoints(
        directory / CHECKPOINTS, trainer, recipe.checkpoints_kept, workers.is_chief
    )
    start = checkpoints.restore()
    workers.require_same("checkpoints", *start)
    # The other workers' histories are their own, and dropped.
    history = History(directory / HISTORY_FILE, start.epoch if workers.is_chief else 0)
    if start.epoch >= epochs:
        trainer.finish()
        return
    if start > (0, 0):
        print(f"{title}: goes on after {start}.", flush=True)
    schedulers = []
    if trainer.is_taught:
        schedule = coefficient_schedule(recipe)
        schedulers.append(CoefficientScheduler(schedule, recipe.schedule_on, start.step))
    bar = progress(title, epochs, steps, recipe.batch_size, start.epoch)
    every = Interval.parse(recipe.checkpoint_every)
    saver = SaveCheckpoints(checkpoints, trainer.divergence, start, steps, every, title, workers)
    logs = front.logs(directory / "tensorboard", recipe.profiled_steps())
    watchers = [*schedulers, *callbacks, logs, history, bar, saver]
    try:
        with deferred():
            trainer.fit(start, teacher_logits, watchers)
    finally:
        bar.close()
