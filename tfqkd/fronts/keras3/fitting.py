"""Training with Keras 3: compiled, resumed at any step, and watched."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.data.augmentation import Augmentation
from tfqkd.data.epochs import Epochs
from tfqkd.data.images import ImageData
from tfqkd.fronts.keras3.batch_norm import batch_norms, reestimate_batch_norm
from tfqkd.fronts.keras3.batches import Batches, ScannedBatches, ShownInOrder
from tfqkd.fronts.keras3.calibration import calibrate_activations
from tfqkd.fronts.keras3.cloning import leaves
from tfqkd.fronts.keras3.distiller import Distiller
from tfqkd.fronts.keras3.divergence import Divergence
from tfqkd.fronts.keras3.model import quantized_kernels
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.rates import make_optimizer
from tfqkd.fronts.keras3.replicas import AverageReplicas, read, replicas_of, synchronized
from tfqkd.fronts.keras3.state import State, variables_added
from tfqkd.fronts.keras3.watching import Calls, as_callbacks
from tfqkd.fronts.settings import Fitting
from tfqkd.fronts.trainer import Position, Watcher
from tfqkd.fronts.variables import KerasView

_ops = keras.ops
ESTIMATED_IMAGES = 10_000
"""On how many training images the statistics of batch norm are measured again."""


class KerasTrainer:
    """A compiled network; see `tfqkd.fronts.trainer.Trainer`.

    Args:
        network: A model, or a `Distiller` whose student is trained.
        fitting: How it is trained.
        data: What to train on.
    """

    def __init__(self, network: keras.Model, fitting: Fitting, data: ImageData) -> None:
        self._network, self._fitting, self._data = network, fitting, data
        distils = isinstance(network, Distiller)
        self._trained = network.student if distils else network
        self._beside = network.beside if distils else []
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=fitting.label_smoothing
        )
        self._optimizer = make_optimizer(fitting, self._trained, self._beside)
        network.compile(
            self._optimizer,
            loss,
            metrics=["accuracy"],
            # JAX without it makes step by step what the others make at once.
            jit_compile=fitting.jit_compile or keras.backend.backend() == "jax",
            steps_per_execution=fitting.steps_per_execution,
        )
        network.optimizer.build(network.trainable_variables)
        networks = [self._trained, *self._beside]
        self._replicas = AverageReplicas(networks)
        self._state = state = State(network, networks, network.optimizer)
        for name, variable in network.kept.items() if distils else ():
            state.add(name, variable)
        self.read_state = state.read
        self.write_averages, self.read_averages = state.write_averages, state.read_averages
        self.damage = state.damage
        self.divergence = Divergence(fitting.title, network, self._trained)
        train = data.train
        balanced = fitting.class_weights == "balanced"
        self._weights = train.balanced_weights(data.classes) if balanced else None
        on_device = not train.is_streamed and fitting.augmentation.is_plain and not balanced
        self.whole_epochs = scans(fitting.scan, on_device, epochs_of(fitting, data))

    def write_state(self, directory: pathlib.Path) -> None:
        """Writes all that a training needs to go on."""
        # Inside an epoch each replica has moving averages of its own.
        self._replicas.average()
        self._state.write(directory)

    @functools.cached_property
    def view(self) -> KerasView:
        """The variables of this training, for methods."""
        trained, kernels = self._trained, list(quantized_kernels(self._trained))
        kernels = [kernel for kernel in kernels if kernel.trainable]

        def settle(augmented: bool) -> None:
            if batch_norms(trained):
                reestimate_batch_norm(trained, estimation(self._fitting, self._data, augmented))

        def requantize() -> None:
            for kernel in kernels:
                latent = _ops.cast(kernel.latent.value, "float32")
                state = {name: value.value for name, value in kernel.state.items()}
                for name, value in kernel.quantizer.updated(latent, state, OPS).items():
                    kernel.state[name].assign(value)

        return KerasView(
            KerasVariable,
            [(kernel, kernel.held.kernel.channel_axes) for kernel in kernels],
            [layer for _, layer in leaves(trained)],
            self._beside,
            self._network.optimizer,
            self._fitting.epochs,
            variables_added(self._state.add),
            requantize,
            settle,
        )

    def fit(self, start: Position, teacher_logits: Sequence[Any], watchers: Sequence[Any]) -> None:
        """Trains from `start` to the end."""
        fitting = self._fitting
        epochs = epochs_of(fitting, self._data, fitting.fixed_views, teacher_logits)
        batches = (
            ScannedBatches(self._network, epochs, self._optimizer)
            if self.whole_epochs
            else Batches(epochs, start.epoch, self._weights)
        )
        calls = Calls(fitting.epochs, fitting.steps, batches.steps_in_call)
        watchers, last = [batches.turning, self.divergence, *watchers], fitting.epochs
        if start.step:
            self._make_metrics()
            # Keras begins with the first step of an epoch: the rest of one is a call of `fit` by itself.
            rest = Batches(epochs, start.epoch, self._weights, start.step)
            with self._weights_kept() as kept:
                callbacks = as_callbacks([*watchers, kept], calls.rest(start.step))
                self._fit(rest, start.epoch, start.epoch + 1, callbacks)
            calls, start = calls.behind_rest(), Position(start.epoch + 1, 0)
            last = start.epoch if self._network.stop_training else last
        self._fit(batches, start.epoch, last, as_callbacks(watchers, calls))

    def _make_metrics(self) -> None:
        """Makes what compiled metrics count in, as TensorFlow does in a step: it is read before."""
        if replicas_of(self._network) == 1:
            one = np.eye(self._data.classes, dtype=np.float32)[:1]
            self._network.compute_metrics(None, one, one, None)
            self._network.reset_metrics()

    def _fit(self, batches: Any, first: int, last: int, callbacks: list[Any]) -> None:
        validation = self._data.validation
        given = validation and ShownInOrder(
            validation, self._fitting.batch_size, self._data.classes
        )
        networks = [self._trained, *self._beside]
        norms = [norm for each in networks for norm in batch_norms(each).values()]
        with synchronized(norms if self._fitting.synchronized_batch_norm else ()):
            self._network.fit(
                batches,
                epochs=last,
                initial_epoch=first,
                verbose=0,
                shuffle=False,
                validation_data=given,
                callbacks=[self._replicas, *callbacks],
            )

    @contextlib.contextmanager
    def _weights_kept(self) -> Iterator[Watcher]:
        """Takes back what Keras does to the weights after the last epoch of a `fit` that is not the last."""
        variables = self._trained.trainable_variables if self._fitting.ema else []
        kept = _Kept(variables)
        yield kept
        for variable, value in zip(variables, kept.values, strict=True):
            variable.assign(value)

    def finish(self) -> None:
        """Puts the moving average in the place of the weights, as Keras does after the last epoch."""
        if self._fitting.ema:
            variables = self._network.trainable_variables
            self._network.optimizer.finalize_variable_values(variables)


@dataclasses.dataclass(frozen=True)
class KerasVariable:
    """A variable of Keras under a name of its own; see `tfqkd.fronts.view.Variable`."""

    name: str
    variable: keras.Variable

    def read(self) -> np.ndarray:
        """Returns its value."""
        return read(self.variable)

    def assign(self, value: np.ndarray) -> None:
        """Sets its value, on every device."""
        self.variable.assign(value)


def scans(wanted: str, on_device: bool, epochs: Epochs) -> bool:
    """Returns whether an epoch is one compiled call.

    Args:
        wanted: "on", "off", or "auto", on accelerators of JAX alone, where the images have room.
        on_device: Whether the images are in memory, varied by padding and flips alone, and weigh the same.
        epochs: What the device would hold.

    Raises:
        ValueError: If it is "on" where there is no such call.
    """
    if wanted == "on" and not on_device:
        raise ValueError(
            "`scan` must be auto or off where images are read from the disk, varied by more than padding and "
            "flips, or weighted by class. Received: scan=on. Leave it out."
        )
    on_jax = keras.backend.backend() == "jax"
    if wanted == "on" and not on_jax:
        raise ValueError(
            "`scan` must be auto or off where Keras has another backend than JAX. Received: scan=on with "
            f"{keras.backend.backend()}. Set KERAS_BACKEND=jax, or leave it out."
        )
    if wanted == "on" or not (on_jax and on_device and wanted == "auto" and has_accelerator()):
        return wanted == "on"
    # JAX alone has it.
    from tfqkd.fronts.keras3.compiled_epochs import has_room  # noqa: PLC0415

    return has_room(epochs)


def has_accelerator() -> bool:
    """Whether what trains is more than a processor."""
    return any(not device.lower().startswith("cpu") for device in keras.distribution.list_devices())


class _Kept(Watcher):
    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = variables
        self.values: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.values = [np.array(_ops.convert_to_numpy(each.value)) for each in self._variables]


def epochs_of(
    fitting: Fitting, data: ImageData, fixed_views: int = 0, teacher_logits: Sequence[Any] = ()
) -> Epochs:
    """Returns the batches of a training, in new views of each epoch or in fixed ones."""
    return Epochs(
        data.train,
        fitting.batch_size,
        data.classes,
        fitting.seed,
        fitting.augmentation,
        fixed_views,
        teacher_logits,
    )


def calibrate(model: keras.Model, fitting: Fitting, data: ImageData) -> None:
    """Lets quantized activations take their ranges from the first training batch."""
    calibrate_activations(model, [next(epochs_of(fitting, data).of(0))])


def estimation(fitting: Fitting, data: ImageData, augmented: bool) -> list[Any]:
    """Returns batches of up to `ESTIMATED_IMAGES` training images."""
    if not augmented:
        fitting = dataclasses.replace(fitting, augmentation=Augmentation.NONE)
    epochs = epochs_of(fitting, data)
    count = max(min(ESTIMATED_IMAGES // fitting.batch_size, fitting.steps), 1)
    return [epochs.batch(0, rows) for rows in epochs.order(0)[:count]]
