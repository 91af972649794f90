"""Training with Keras 3: compiled, resumed at any epoch, and watched."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.data.augmentation import Augmentation
from tfqkd.data.epochs import Epochs
from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.keras3.batch_norm import batch_norms, reestimate_batch_norm
from tfqkd.fronts.keras3.calibration import calibrate_activations
from tfqkd.fronts.keras3.cloning import leaves
from tfqkd.fronts.keras3.distiller import Distiller
from tfqkd.fronts.keras3.model import quantized_kernels
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.rates import ScheduledSGD, make_optimizer
from tfqkd.fronts.keras3.state import State, variables_added
from tfqkd.fronts.keras3.watching import as_callbacks
from tfqkd.fronts.settings import Fitting
from tfqkd.fronts.trainer import Position, Watcher
from tfqkd.fronts.variables import KerasView

_ops = keras.ops
ESTIMATED_IMAGES = 10_000
"""On how many training images the statistics of batch norm are measured anew."""


class KerasTrainer:
    """A compiled network; see `tfqkd.fronts.trainer.Trainer`.

    Args:
        network: A model, or a `Distiller` whose student is trained.
        fitting: How it is trained.
        data: What to train on.
    """

    def __init__(self, network: keras.Model, fitting: Fitting, data: ImageData) -> None:
        self._network, self._fitting, self._data = network, fitting, data
        self._trained = network.student if isinstance(network, Distiller) else network
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=fitting.label_smoothing
        )
        self._optimizer = make_optimizer(fitting, self._trained)
        network.compile(
            self._optimizer,
            loss,
            metrics=["accuracy"],
            # JAX without it makes step by step what the others make at once.
            jit_compile=fitting.jit_compile or keras.backend.backend() == "jax",
            steps_per_execution=fitting.steps_per_execution,
        )
        network.optimizer.build(self._trained.trainable_variables)
        state = State([self._trained], network.optimizer)
        self._keep = state.add
        self.write_state, self.read_state = state.write, state.read
        self.divergence = Divergence(fitting.title, self._trained)
        self._damage = state.damage

    def damage(self, directory: pathlib.Path, *, has_averages: bool) -> str:
        """Says which checksum of what was written does not hold; nothing if all do."""
        del has_averages
        return self._damage(directory)

    def write_averages(self, directory: pathlib.Path) -> None:
        """Has nothing to write: what is kept is kept between epochs."""

    def read_averages(self, directory: pathlib.Path) -> None:
        """Has nothing to read."""

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
            [],
            self._network.optimizer,
            self._fitting.epochs,
            variables_added(self._keep),
            requantize,
            settle,
        )

    def fit(self, start: Position, teacher_logits: Sequence[Any], watchers: Sequence[Any]) -> None:
        """Trains from `start`, the end of an epoch, to the end."""
        fitting, validation = self._fitting, self._data.validation
        epochs = epochs_of(fitting, self._data, fitting.fixed_views, teacher_logits)
        train, weights = self._data.train, None
        if fitting.class_weights == "balanced":
            weights = train.balanced_weights(self._data.classes)
        on_device = not train.is_streamed and fitting.augmentation.is_plain and weights is None
        batches = (
            ScannedBatches(self._network, epochs, self._optimizer)
            if scans(fitting.scan, on_device, epochs)
            else Batches(epochs, start.epoch, weights)
        )
        given = validation and ShownInOrder(validation, fitting.batch_size, self._data.classes)
        self._network.fit(
            batches,
            epochs=fitting.epochs,
            initial_epoch=start.epoch,
            verbose=0,
            shuffle=False,
            validation_data=given,
            callbacks=as_callbacks(
                [batches.turning, self.divergence, *watchers], batches.steps_in_call
            ),
        )

    def finish(self) -> None:
        """Puts the moving average in the place of the weights, as Keras does after the last epoch."""
        if self._fitting.ema:
            variables = self._trained.trainable_variables
            self._network.optimizer.finalize_variable_values(variables)


@dataclasses.dataclass(frozen=True)
class KerasVariable:
    """A variable of Keras under a name of its own; see `tfqkd.fronts.view.Variable`."""

    name: str
    variable: keras.Variable

    def read(self) -> np.ndarray:
        """Returns its value."""
        return np.asarray(_ops.convert_to_numpy(self.variable.value))

    def assign(self, value: np.ndarray) -> None:
        """Sets its value, on every device."""
        self.variable.assign(value)


class Batches(keras.utils.PyDataset):
    """The batches of one epoch after the other, as Keras asks for them.

    Args:
        epochs: All of them.
        first: The epoch to begin with.
        weights: What an example of each class weighs, `[classes]`; None where all weigh the same.
    """

    def __init__(self, epochs: Epochs, first: int, weights: np.ndarray | None = None) -> None:
        super().__init__()
        self._weights = weights
        self.steps_in_call = 1
        self._epochs = epochs
        self.turning = _Turning(self)
        self.turn(first)

    def turn(self, epoch: int) -> None:
        """Shows another epoch from now on."""
        self._epoch, self._order = epoch, self._epochs.order(epoch)

    def __len__(self) -> int:
        return self._epochs.steps

    def __getitem__(self, step: int) -> tuple[Any, ...]:
        images, labels = self._epochs.batch(self._epoch, self._order[step])
        # Of a mixture the mean of its classes' weights.
        return (
            (images, labels) if self._weights is None else (images, labels, labels @ self._weights)
        )


class ShownInOrder(keras.utils.PyDataset):
    """All images in stored order, with one-hot labels.

    Args:
        split: The images.
        batch_size: Of all batches but the last.
        classes: Number of classes.
    """

    def __init__(self, split: Split, batch_size: int, classes: int) -> None:
        super().__init__()
        self._split, self._batch_size = split, batch_size
        self._labels = np.eye(classes, dtype=np.float32)[split.labels]

    def __len__(self) -> int:
        return math.ceil(len(self._split) / self._batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(step * self._batch_size, (step + 1) * self._batch_size)
        return self._split.images[rows], self._labels[rows]


class ScannedBatches(keras.utils.PyDataset):
    """One batch that stands for a whole epoch, whose steps are made in one call on JAX.

    Args:
        network: Compiled; its `train_function` is replaced for good.
        epochs: All of them.
        optimizer: That of the network, inside what scales losses for it.
    """

    def __init__(self, network: keras.Model, epochs: Epochs, optimizer: ScheduledSGD) -> None:
        # JAX alone has it.
        from tfqkd.fronts.keras3.scanned import ScannedEpoch  # noqa: PLC0415

        super().__init__()
        self.steps_in_call = epochs.steps
        self._first = epochs.batch(0, epochs.order(0)[0])
        self._scanned = network.train_function = ScannedEpoch(network, epochs, optimizer)
        # A table of λ that grows has the function made anew; this one sees the new shape by itself.
        network.make_train_function = lambda force=False: None
        self.turning = _Turning(self)

    def turn(self, epoch: int) -> None:
        """Makes the steps of another epoch from now on."""
        self._scanned.epoch = epoch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, step: int) -> tuple[Any, np.ndarray]:
        return self._first


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
    from tfqkd.fronts.keras3.scanned import has_room  # noqa: PLC0415

    return has_room(epochs)


def has_accelerator() -> bool:
    """Whether what trains is more than a processor."""
    return any(not device.lower().startswith("cpu") for device in keras.distribution.list_devices())


class _Turning(Watcher):
    def __init__(self, batches: "Batches | ScannedBatches") -> None:
        self._batches = batches

    def on_epoch_begin(self, epoch: int) -> None:
        self._batches.turn(epoch)


class Divergence(Watcher):
    """Notes the first epoch whose loss is not finite; see `tfqkd.fronts.trainer.Divergence`.

    Args:
        title: What is trained, for the message.
        trained: The network.
    """

    def __init__(self, title: str, trained: keras.Model) -> None:
        self._title, self._trained = title, trained
        self._found = ""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Looks at the losses of the epoch."""
        losses = {name: float(value) for name, value in logs.items() if "loss" in name}
        bad = [f"{name} {value}" for name, value in losses.items() if not math.isfinite(value)]
        if bad and not self._found:
            self._found = f"{', '.join(bad)} in epoch {epoch + 1}"

    def require_none(self) -> None:
        """Raises ValueError if an epoch has diverged."""
        if self._found:
            raise ValueError(
                f"The loss must stay finite. Received: {self._found} of the {self._title}. {_ADVICE}"
            )

    def require_finite_weights(self, where: str) -> None:
        """Raises ValueError unless all weights are finite."""
        for weight in self._trained.weights:
            if not np.isfinite(_ops.convert_to_numpy(_ops.cast(weight.value, "float32"))).all():
                raise ValueError(
                    f"The weights must stay finite. Received: {weight.path} after {where} of the "
                    f"{self._title}. {_ADVICE}"
                )


_ADVICE = (
    "The last good checkpoint is kept. Lower its learning rate, or let it rise over some epochs."
)


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
