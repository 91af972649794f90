"""Whose weights are these: a model's layers, told apart also inside other layers, and by their values."""

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np

from tfqkd.compat import keras

_KERNEL = re.compile("(kernel|embeddings)[^/]*$")
# Folding multiplies a channel by one factor: two float32 roundings, and those of the fit.
ROUNDING = 2.0**-20


@dataclasses.dataclass(frozen=True)
class LayerKernel:
    """A kernel of a Keras model.

    Attributes:
        path: The names of its layer and of those that this one is in, outermost first.
        value: Its weights, float32.
    """

    path: tuple[str, ...]
    value: np.ndarray

    @property
    def layer(self) -> str:
        """Its layer's name; with those of the layers around it, as in "attention/query"."""
        return "/".join(self.path)

    def is_multiple(self, rows: np.ndarray) -> bool:
        """Whether each channel of a file's kernel is a multiple of a channel of this one.

        Args:
            rows: The file's, float64 [channels, weights of a channel].
        """
        return any(not other_channels(rows, own).size for own in self._rows(rows.shape))

    def _rows(self, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        """Yields the kernel as rows of a shape: one that multiplies several axes has several ways."""
        if self.value.size != np.prod(shape):
            return
        for channels in range(1, self.value.ndim):
            behind = self.value.reshape(-1, int(np.prod(self.value.shape[channels:])))
            for rows in (behind.T, behind):
                if rows.shape == shape:
                    yield rows.astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Owners:
    """The kernels of a model, to find out whose a kernel in a file is.

    Attributes:
        model: The model's name, with which converters begin the names of operations.
        kernels: Its kernels.
        paths: As `LayerKernel.path`, of all layers, also those without a kernel.
    """

    model: str
    kernels: tuple[LayerKernel, ...]
    paths: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, model: keras.Model) -> "Owners":
        """Collects the kernels of all layers of a model, also of layers inside layers."""
        layers = list(layer_paths(model))
        kernels = [
            LayerKernel(path, weight.numpy())
            for path, layer in layers
            for weight in _own_weights(layer)
            if _KERNEL.search(weight.name)
        ]
        return cls(model.name, tuple(kernels), tuple(path for path, _ in layers))

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers with a kernel, in the order of the model."""
        return tuple(dict.fromkeys(kernel.layer for kernel in self.kernels))

    def find(self, names: Sequence[str], rows: np.ndarray) -> tuple[str, ...]:
        """Returns the layers that a kernel in a file belongs to; more than one if theirs are equal.

        Args:
            names: For each operator that reads it, what the converter called the kernel and its
                result: names of operations, joined by semicolons.
            rows: Its weights, float64 [channels, weights of a channel].

        Returns:
            Names of layers by what the operators are called; if these say nothing, of those whose
            kernel has this very value; else what the file calls it.
        """
        paths = tuple({kernel.path for kernel in self.kernels})
        named = [layer for name in names if (layer := self._named(name, paths)) is not None]
        if not named and rows.shape[-1] > 1:
            named = [kernel.layer for kernel in self.kernels if kernel.is_multiple(rows)]
        return tuple(dict.fromkeys(named or names))

    def named(self, names: str) -> str | None:
        """Returns the layer in the names of operations, joined by semicolons; None if there is none."""
        return self._named(names, self.paths)

    def _named(self, names: str, paths: tuple[tuple[str, ...], ...]) -> str | None:
        for name in names.split(";"):
            _, model, inside = f"/{name}".partition(f"/{self.model}/")
            parts = re.split("[/:]", inside)
            # A layer's own name may be a path too.
            named = [("/".join(path)).split("/") for path in paths]
            fitting = [path for path in named if model and parts[: len(path)] == path]
            if fitting:
                longest = max(len(path) for path in fitting)
                return "/".join(parts[:longest])
        return None


def layer_paths(model: keras.Model) -> Iterator[tuple[tuple[str, ...], keras.layers.Layer]]:
    """Yields every layer of a model, also those inside other layers, after the names that lead to it."""
    seen: set[int] = set()
    for top in model.layers:
        inner = [module for module in top.submodules if isinstance(module, keras.layers.Layer)]
        below = {id(layer): {id(module) for module in layer.submodules} for layer in inner}
        for layer in (top, *inner):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            around = [other for other in inner if id(layer) in below[id(other)]]
            around.sort(key=lambda other: -len(below[id(other)]))
            outer = () if layer is top else (top.name, *(other.name for other in around))
            yield (*outer, layer.name), layer


def other_channels(received: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Returns the rows of `received` that are no multiple of the row in `expected`."""
    squares = np.maximum((expected**2).sum(axis=1), np.finfo(np.float64).tiny)
    factors = (received * expected).sum(axis=1) / squares
    errors = np.abs(received - factors[:, np.newaxis] * expected).max(axis=1)
    return np.flatnonzero(errors > ROUNDING * np.abs(received).max(axis=1))


def _own_weights(layer: keras.layers.Layer) -> list:
    inner = [module for module in layer.submodules if isinstance(module, keras.layers.Layer)]
    others = {id(weight) for module in inner for weight in module.weights}
    return [weight for weight in layer.weights if id(weight) not in others]
