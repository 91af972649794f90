"""The view of a training that a method gets between epochs: it lists, reads and assigns variables."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from tfqkd.core.quantizer import WeightQuantizer


class Variable(Protocol):
    """A variable of a training."""

    @property
    def name(self) -> str:
        """Its own within the view."""

    def read(self) -> np.ndarray:
        """Returns its value."""

    def assign(self, value: np.ndarray) -> None:
        """Sets its value, on every device."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A quantized kernel of the student that trains.

    Attributes:
        name: LAYER/ATTRIBUTE.
        latent: The float weights that training moves.
        quantizer: The settings of its quantizer.
        state: The quantizer's variables by name.
        channel_axes: The axes that a per-channel scale keeps.
    """

    name: str
    latent: Variable
    quantizer: WeightQuantizer
    state: Mapping[str, Variable]
    channel_axes: tuple[int, ...]


class View(Protocol):
    """The training that a method belongs to."""

    @property
    def epochs(self) -> int:
        """Of the whole training."""

    @property
    def kernels(self) -> Sequence[Kernel]:
        """The quantized kernels that train."""

    @property
    def floats(self) -> Sequence[Variable]:
        """The student's other weights, and statistics of batch norm, that are not frozen."""

    @property
    def slots(self) -> Sequence[Variable]:
        """What the optimizer keeps besides the weights: velocities, averages."""

    @property
    def peers(self) -> Sequence[Variable]:
        """The weights of the networks that train along."""

    @property
    def own(self) -> Mapping[str, Variable]:
        """What `add` has added, by name."""

    def add(self, name: str, first: np.ndarray) -> Variable:
        """Adds a float32 variable that is in every checkpoint; before the training begins."""

    def snapshot(self) -> None:
        """Copies the student's weights to the networks that keep its past and do not train."""

    def requantize(self) -> None:
        """Lets steps that follow the weights follow what these have become since the last step."""

    def settle_batch_norm(self, augmented: bool) -> None:
        """Measures the statistics of batch norm again, on training images, augmented or plain."""
