"""A stage's training: compiled as the recipe says, resumed at its checkpoint, with every run's callbacks."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core import schedules
from tfqkd.core.schedulers import CoefficientScheduler
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import evaluation_batches, steps_per_epoch, training_batches
from tfqkd.data.images import ImageData
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.training.batch_norm import synchronize_batch_norm
from tfqkd.training.checkpoints import Checkpoints, Position
from tfqkd.training.divergence import Divergence
from tfqkd.training.history import History
from tfqkd.training.interruption import deferred
from tfqkd.training.optimizers import make_optimizer
from tfqkd.training.products import CHECKPOINTS
from tfqkd.training.progress import MakeProgress
from tfqkd.training.recipe import Recipe
from tfqkd.training.saving import Interval, SaveCheckpoints
from tfqkd.training.seeds import training_seed
from tfqkd.training.settings import QUANTIZED, STUDENT, TEACHER
from tfqkd.training.tensorboard import EpochLogs
from tfqkd.training.workers import Workers

HISTORY_FILE = "history.csv"
ESTIMATED_IMAGES = 10_000
"""On how many training images the statistics of batch norm are measured anew."""


def fit(
    network: keras.Model,
    directory: pathlib.Path,
    *,
    recipe: Recipe,
    stage: str,
    title: str,
    data: ImageData,
    strategy: tf.distribute.Strategy,
    progress: MakeProgress,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    teacher_logits: Sequence[tf.Tensor] = (),
) -> None:
    """Trains a network as a recipe says, or goes on where an interrupted call stopped.

    Args:
        network: A model, or a `Distiller` whose student is trained. Made within the strategy's scope.
        directory: Where checkpoints, history and logs of TensorBoard are kept.
        recipe: How to train.
        stage: Of the recipe: whose epochs, learning rate and seed are taken.
        title: Of the progress bar.
        data: What to train on.
        strategy: Where to train.
        progress: Makes the callback that shows the progress.
        callbacks: Besides those that every stage has.
        teacher_logits: For each fixed view the teacher's logits, of shape (examples, classes).

    Raises:
        ValueError: If the history lacks an epoch of the checkpoint.
        RuntimeError: If the workers do not hold the same checkpoints.
    """
    quantized = stage == QUANTIZED
    epochs = {
        TEACHER: recipe.teacher_epochs,
        STUDENT: recipe.student_epochs,
        QUANTIZED: recipe.quantized_epochs,
    }[stage]
    learning_rate = recipe.quantized_learning_rate if quantized else recipe.learning_rate
    trained = network.student if isinstance(network, Distiller) else network
    steps = steps_per_epoch(data.train, recipe.batch_size)
    ema = recipe.ema if quantized else 0.0
    if recipe.synchronized_batch_norm:
        synchronize_batch_norm(trained)
    network.compile(
        make_optimizer(recipe, learning_rate, epochs, steps, trained, ema),
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=recipe.jit_compile,
        steps_per_execution=recipe.steps_per_execution,
    )
    workers = Workers(strategy)
    checkpoints = Checkpoints(
        directory / CHECKPOINTS, network, trained, recipe.checkpoints_kept, workers.is_chief
    )
    start = checkpoints.restore()
    workers.require_same("checkpoints", *start)
    # The other workers' histories are their own, and dropped.
    history = History(directory / HISTORY_FILE, start.epoch if workers.is_chief else 0)
    if start.epoch >= epochs:
        if ema:
            # Keras does it after the last epoch, and so after the last checkpoint.
            network.optimizer.finalize_variable_values(trained.trainable_variables)
        return
    if start > (0, 0):
        print(f"{title}: goes on after {start}.", flush=True)
    network._training_state = _Start(start)
    batches = training_stream(
        recipe,
        stage,
        data,
        epochs,
        first_epoch=start.epoch,
        first_step=start.step,
        fixed_views=recipe.teacher_views if quantized or teacher_logits else 0,
        teacher_logits=teacher_logits,
    )
    validation = data.validation and evaluation_batches(
        data.validation, batch_size=recipe.batch_size, classes=data.classes
    )
    scheduler = []
    if isinstance(network, Distiller):
        schedule = coefficient_schedule(recipe)
        scheduler.append(CoefficientScheduler(schedule, recipe.schedule_on, start.step))
    bar = progress(title, epochs, steps, recipe.batch_size, start.epoch)
    try:
        with deferred():
            network.fit(
                batches,
                epochs=epochs,
                initial_epoch=start.epoch,
                steps_per_epoch=steps,
                validation_data=validation,
                verbose=0,
                callbacks=[
                    *scheduler,
                    *callbacks,
                    EpochLogs(
                        directory / "tensorboard",
                        write_graph=False,
                        profile_batch=recipe.profiled_steps() or 0,
                    ),
                    history,
                    bar,
                    SaveCheckpoints(
                        checkpoints,
                        Divergence(title, network, trained, steps),
                        start,
                        steps,
                        Interval.parse(recipe.checkpoint_every),
                        title,
                        workers,
                    ),
                ],
            )
    finally:
        bar.close()


def first_batches(recipe: Recipe, data: ImageData, count: int) -> tf.data.Dataset:
    """Returns the batches of the quantized stage's first training steps."""
    return training_stream(recipe, QUANTIZED, data, epochs=count).take(count)


def estimation_batches(recipe: Recipe, stage: str, data: ImageData) -> tf.data.Dataset:
    """Returns batches of up to `ESTIMATED_IMAGES` training images, as `recipe.batch_norm` shows them."""
    plain = recipe.batch_norm == "plain"
    shown = dataclasses.replace(recipe, crop_padding=0, flip=False) if plain else recipe
    count = min(
        ESTIMATED_IMAGES // recipe.batch_size, steps_per_epoch(data.train, recipe.batch_size)
    )
    return training_stream(shown, stage, data, epochs=1).take(max(count, 1))


def training_stream(
    recipe: Recipe, stage: str, data: ImageData, epochs: int, **options: Any
) -> tf.data.Dataset:
    """Returns the batches of a stage; `options` are those of `training_batches`."""
    return training_batches(
        data.train,
        batch_size=recipe.batch_size,
        classes=data.classes,
        seed=training_seed(recipe, stage),
        augmentation=augmentation_of(recipe),
        epochs=epochs,
        **options,
    )


def augmentation_of(recipe: Recipe) -> Augmentation:
    """Returns how a recipe varies its training images."""
    return Augmentation(recipe.crop_padding, recipe.flip)


def coefficient_schedule(recipe: Recipe) -> schedules.Schedule:
    """Returns the schedule of the soft loss's coefficient."""
    start, end = recipe.coefficient, recipe.coefficient_end
    kinds: dict[str, Callable[[], schedules.Schedule]] = {
        "constant": lambda: schedules.Constant(start),
        "gradual": lambda: schedules.Linear(start, end),
        "cosine": lambda: schedules.Cosine(start, end),
        "exponential": lambda: schedules.Exponential(start, end),
        "step": lambda: schedules.Step(start, recipe.milestones, recipe.learning_rate_factor),
    }
    return kinds[recipe.schedule]()


@dataclasses.dataclass(frozen=True)
class _Start:
    """Tells `fit` where to start; of all that it takes, this alone can name a step inside an epoch."""

    position: Position

    def maybe_load_initial_counters_from_ckpt(self, *_: Any, **__: Any) -> Position:
        return self.position
