"""Training with tf_keras: compiled, resumed at any step, and watched."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import ImageData
from tfqkd.fronts.settings import Fitting
from tfqkd.fronts.tfmot.batch_norm import batch_norms, reestimate_batch_norm
from tfqkd.fronts.tfmot.batches import evaluation_batches, training_batches
from tfqkd.fronts.tfmot.calibration import calibrate_activations
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.divergence import Divergence
from tfqkd.fronts.tfmot.host_batches import Share
from tfqkd.fronts.tfmot.optimizers import make_optimizer
from tfqkd.fronts.tfmot.state import State
from tfqkd.fronts.tfmot.synchronized import synchronize_batch_norm
from tfqkd.fronts.tfmot.tensorboard import EpochLogs
from tfqkd.fronts.tfmot.view import view_of
from tfqkd.fronts.tfmot.watching import as_callbacks
from tfqkd.fronts.trainer import Position
from tfqkd.fronts.variables import KerasView

ESTIMATED_IMAGES = 10_000
"""On how many training images the statistics of batch norm are measured again."""


class KerasTrainer:
    """A compiled network; see `tfqkd.fronts.trainer.Trainer`.

    Args:
        network: A model, or a `Distiller` whose student is trained. Made within the strategy's scope.
        fitting: How it is trained.
        data: What to train on.
    """

    whole_epochs = False

    def __init__(self, network: keras.Model, fitting: Fitting, data: ImageData) -> None:
        self._network, self._fitting, self._data = network, fitting, data
        distils = isinstance(network, Distiller)
        self._trained = network.student if distils else network
        beside = network.beside if distils else []
        if fitting.synchronized_batch_norm:
            synchronize_batch_norm(self._trained)
        network.compile(
            make_optimizer(fitting, self._trained, beside),
            keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=fitting.label_smoothing
            ),
            metrics=["accuracy"],
            jit_compile=fitting.jit_compile,
            steps_per_execution=fitting.steps_per_execution,
        )
        self._state = state = State(network, self._trained, beside)
        if distils:
            for name, variable in network.balances.variables.items():
                state.add(f"balance/{name}", variable)
        self.write_state, self.read_state = state.write, state.read
        self.write_averages, self.read_averages = state.write_averages, state.read_averages
        self.damage = state.damage

    @functools.cached_property
    def view(self) -> KerasView:
        """The variables of this training, for methods."""
        fitting, network = self._fitting, self._network
        beside = getattr(network, "beside", [])

        def settle(augmented: bool) -> None:
            shown = fitting if augmented else _plain(fitting)
            settle_batch_norm(self._trained, shown, self._data)

        optimizer, add = network.optimizer, self._state.add
        return view_of(self._trained, beside, optimizer, fitting.epochs, add, settle)

    @functools.cached_property
    def divergence(self) -> Divergence:
        """Watches this training, from when it is first asked for."""
        fitting = self._fitting
        return Divergence(fitting.title, self._network, self._trained, fitting.steps)

    def fit(
        self, start: Position, teacher_logits: Sequence[tf.Tensor], watchers: Sequence[Any]
    ) -> None:
        """Trains from `start` to the end."""
        fitting, data = self._fitting, self._data
        self._network._training_state = _Start(start)
        make = functools.partial(
            training_stream,
            fitting,
            data,
            fitting.epochs,
            first_epoch=start.epoch,
            first_step=start.step,
            fixed_views=fitting.fixed_views,
            teacher_logits=teacher_logits,
        )
        if fitting.class_weights == "balanced":
            make = functools.partial(_weighted, make, data.train.balanced_weights(data.classes))
        batches = (
            shared(make, self._network.distribute_strategy) if data.train.is_streamed else make()
        )
        validation = data.validation and evaluation_batches(
            data.validation, batch_size=fitting.batch_size, classes=data.classes
        )
        self._network.fit(
            batches,
            epochs=fitting.epochs,
            initial_epoch=start.epoch,
            steps_per_epoch=fitting.steps,
            validation_data=validation,
            verbose=0,
            callbacks=as_callbacks(watchers),
        )

    def finish(self) -> None:
        """Puts the moving average in the place of the weights, as Keras does after the last epoch."""
        if self._fitting.ema:
            self._network.optimizer.finalize_variable_values(self._trained.trainable_variables)


def trainer(model: keras.Model, fitting: Fitting, data: ImageData) -> KerasTrainer:
    """Returns a network, or what trains it, ready to be trained."""
    return KerasTrainer(model, fitting, data)


def logs(directory: pathlib.Path, profile: tuple[int, int] | None) -> list[EpochLogs]:
    """Returns TensorBoard's callback."""
    return [EpochLogs(directory, write_graph=False, profile_batch=profile or 0)]


def calibrate(model: keras.Model, fitting: Fitting, data: ImageData) -> None:
    """Lets quantized activations take their ranges from the first training batch."""
    calibrate_activations(model, training_stream(fitting, data, epochs=1).take(1))


def settle_batch_norm(model: keras.Model, fitting: Fitting, data: ImageData) -> None:
    """Measures the statistics of batch norm again on up to `ESTIMATED_IMAGES` training images."""
    if batch_norms(model):
        reestimate_batch_norm(model, estimation_batches(fitting, data))


def estimation_batches(fitting: Fitting, data: ImageData) -> tf.data.Dataset:
    """Returns batches of up to `ESTIMATED_IMAGES` training images."""
    count = min(ESTIMATED_IMAGES // fitting.batch_size, fitting.steps)
    return training_stream(fitting, data, epochs=1).take(max(count, 1))


def training_stream(
    fitting: Fitting, data: ImageData, epochs: int, **options: Any
) -> tf.data.Dataset:
    """Returns the batches of a training; `options` are those of `training_batches`."""
    return training_batches(
        data.train,
        batch_size=fitting.batch_size,
        classes=data.classes,
        seed=fitting.seed,
        augmentation=fitting.augmentation,
        epochs=epochs,
        **options,
    )


def shared(make: Callable[..., tf.data.Dataset], strategy: tf.distribute.Strategy) -> Any:
    """Returns batches; each of several workers reads only its part of them.

    Args:
        make: Makes them, of a `share`.
        strategy: The workers'.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return make()

    def parts(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return make(
            share=Share(
                context.input_pipeline_id,
                context.num_input_pipelines,
                context.num_replicas_in_sync,
            )
        )

    return strategy.distribute_datasets_from_function(parts)


def _weighted(
    make: Callable[..., tf.data.Dataset], weights: np.ndarray, **share: Any
) -> tf.data.Dataset:
    """Batches with a weight for each example: its class's, of a mixture the mean of its classes'."""
    by_class = tf.constant(weights)
    return make(**share).map(lambda x, y: (x, y, tf.linalg.matvec(y, by_class)))


def _plain(fitting: Fitting) -> Fitting:
    return dataclasses.replace(fitting, augmentation=Augmentation.NONE)


@dataclasses.dataclass(frozen=True)
class _Start:
    """Tells `fit` where to start; of all that it takes, this alone can name a step inside an epoch."""

    position: Position

    def maybe_load_initial_counters_from_ckpt(self, *_: Any, **__: Any) -> Position:
        return self.position
