"""A stage's training: resumed at its checkpoint, with the watchers that every stage has."""

import pathlib
from collections.abc import Sequence
from typing import Any

from tfqkd.core.schedulers import CoefficientScheduler
from tfqkd.data.batches import steps_per_epoch
from tfqkd.data.images import ImageData
from tfqkd.fronts.front import Front, Model
from tfqkd.fronts.settings import Fitting
from tfqkd.fronts.trainer import Logits
from tfqkd.fronts.workers import Workers
from tfqkd.methods.hooks import Hooks
from tfqkd.process.interruption import deferred
from tfqkd.progress import MakeProgress
from tfqkd.training.checkpoints import Checkpoints
from tfqkd.training.history import History, read_history
from tfqkd.training.patience import Patience
from tfqkd.training.products import CHECKPOINTS, HISTORY_FILE
from tfqkd.training.saving import Interval, SaveCheckpoints
from tfqkd.training.stage import Execution, Stage


def fit(
    front: Front,
    network: Model,
    directory: pathlib.Path,
    *,
    stage: Stage,
    execution: Execution,
    data: ImageData,
    workers: Workers,
    progress: MakeProgress,
    callbacks: Sequence[Any] = (),
    teacher_logits: Sequence[Logits] = (),
) -> None:
    """Trains a network, or resumes where an interrupted call stopped.

    Args:
        front: Whose network it is.
        network: A model, or what `front.taught` returned. Made within the strategy's scope.
        directory: Where checkpoints, history and logs of TensorBoard are kept.
        stage: How to train.
        execution: How it is computed, and when checkpoints are written.
        data: What to train on.
        workers: Those that train together.
        progress: Makes the watcher that shows the progress.
        callbacks: Besides those that every stage has: watchers, or the front's own callbacks.
        teacher_logits: For each fixed view the teacher's logits, of shape (examples, classes).

    Raises:
        ValueError: If the history lacks an epoch of the checkpoint.
        RuntimeError: If the workers do not hold the same checkpoints.
    """
    fitting = fitting_of(stage, execution, data)
    title, epochs, steps = fitting.title, fitting.epochs, fitting.steps
    trainer = front.trainer(network, fitting, data)
    # Before a checkpoint is read: what they add is in it.
    hooks = Hooks(stage.methods, trainer.view)
    kept = execution.checkpoints_kept
    checkpoints = Checkpoints(directory / CHECKPOINTS, trainer, kept, workers.is_chief)
    start = checkpoints.restore()
    workers.require_same("checkpoints", *start)
    # The other workers' histories are their own, and dropped.
    history = History(directory / HISTORY_FILE, start.epoch if workers.is_chief else 0)
    patience = None
    if stage.training.patience:
        before = read_history(directory / HISTORY_FILE)[: start.epoch]
        patience = Patience(stage.training.patience, before)
    if start.epoch >= epochs or (patience and patience.stops):
        trainer.finish()
        hooks.finish()
        return
    if start > (0, 0):
        print(f"{title}: goes on after {start}.", flush=True)
    schedulers = []
    if stage.distillation:
        schedule, by = stage.distillation.coefficient, stage.distillation.coefficient_on
        schedulers.append(CoefficientScheduler(schedule, by or "epoch", start.step))
    bar = progress(title, epochs, steps, fitting.batch_size, start.epoch)
    every = None if trainer.whole_epochs else Interval.parse(execution.checkpoint_every)
    saver = SaveCheckpoints(checkpoints, trainer.divergence, start, steps, every, title, workers)
    logs = front.logs(directory / "tensorboard", execution.profile)
    watchers = [*schedulers, *callbacks, hooks, *logs, history, bar, saver]
    if patience:
        watchers.append(patience)
    try:
        with deferred():
            trainer.fit(start, teacher_logits, watchers)
    finally:
        bar.close()
    hooks.finish()


def fitting_of(stage: Stage, execution: Execution, data: ImageData) -> Fitting:
    """Returns how a front trains a stage under its methods.

    Args:
        stage: The stage.
        execution: How it is computed.
        data: What to train on.

    Raises:
        ValueError: If a method cannot do with such a training.
    """
    training = stage.training
    fitting = Fitting(
        **vars(training),
        title=stage.title,
        steps=steps_per_epoch(data.train, training.batch_size),
        jit_compile=execution.jit_compile,
        steps_per_execution=execution.steps_per_execution,
        scan=execution.scan,
    )
    for method in stage.methods:
        fitting = method.fitting(fitting)
    return fitting
