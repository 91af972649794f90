"""The variables of a training of either Keras, as methods see them; see `tfqkd.fronts.view`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.fronts.view import Kernel, Variable


class KerasView:
    """A view of variables; see `tfqkd.fronts.view.View`.

    Args:
        wrap: Makes a `Variable` of a name and a variable of Keras.
        quantized: Pairs of a quantized kernel that trains, as the front lists it, and its channel axes.
        layers: Of the student.
        beside: The networks that train along.
        optimizer: Built for all that trains.
        epochs: Of the whole training.
        add: Makes a float32 variable of a name and a first value that is in every checkpoint.
        requantize: Lets steps that follow the weights follow them.
        settle: Measures batch norm again; called with whether the images are augmented.
    """

    def __init__(
        self,
        wrap: Callable[[str, Any], Variable],
        quantized: Sequence[tuple[Any, Sequence[int]]],
        layers: Iterable[Any],
        beside: Iterable[Any],
        optimizer: Any,
        epochs: int,
        add: Callable[[str, np.ndarray], Any],
        requantize: Callable[[], None],
        settle: Callable[[bool], None],
    ) -> None:
        self.epochs = epochs
        self.kernels = [_kernel(wrap, kernel, axes) for kernel, axes in quantized]
        taken = {id(kernel.latent) for kernel, _ in quantized}
        taken |= {id(value) for kernel, _ in quantized for value in kernel.state.values()}
        self.floats = [
            wrap(f"{index}/{weight.name}", weight)
            for index, layer in enumerate(layers)
            if layer.trainable
            for weight in layer.weights
            if id(weight) not in taken and _is_float(weight)
        ]
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        kept = {id(optimizer.iterations), id(getattr(optimizer, "_learning_rate", None))}
        self.slots = [
            wrap(f"{index}/{slot.name}", slot)
            for index, slot in enumerate(optimizer.variables)
            if id(slot) not in kept and _is_float(slot)
        ]
        self.peers = [
            wrap(f"{index}/{number}/{weight.name}", weight)
            for index, network in enumerate(beside)
            for number, weight in enumerate(network.weights)
        ]
        self._own: dict[str, Variable] = {}
        self._wrap, self._add = wrap, add
        past = [network for network in beside if not network.trainable]
        self._copies = [
            (wrap(new.name, new), wrap(old.name, old))
            for network in past
            for old, new in zip(_weights(network.layers), _weights(layers), strict=True)
        ]
        self.requantize, self.settle_batch_norm = requantize, settle

    @property
    def own(self) -> Mapping[str, Variable]:
        """What `add` has added, by name."""
        return self._own

    def snapshot(self) -> None:
        """Copies the student's weights to the networks that keep its past and do not train."""
        for student, past in self._copies:
            past.assign(student.read())

    def add(self, name: str, first: np.ndarray) -> Variable:
        """Adds a float32 variable that is in every checkpoint."""
        self._own[name] = self._wrap(name, self._add(name, first))
        return self._own[name]


def _weights(layers: Iterable[Any]) -> list[Any]:
    return [weight for layer in layers for weight in layer.weights]


def _kernel(wrap: Callable[[str, Any], Variable], kernel: Any, axes: Sequence[int]) -> Kernel:
    name = f"{kernel.layer}/{kernel.attribute}"
    return Kernel(
        name=name,
        latent=wrap(name, kernel.latent),
        quantizer=kernel.quantizer,
        state={key: wrap(f"{name}/{key}", value) for key, value in kernel.state.items()},
        channel_axes=tuple(axes),
    )


def _is_float(variable: Any) -> bool:
    return "float" in str(getattr(variable.dtype, "name", variable.dtype))
