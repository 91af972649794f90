"""Which variables of a layer are kernels, and which of their axes are output channels."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import keras

from tfqkd.core.einsum import channel_axes

_NAME = re.compile(r"(^|/)(\w*kernel|embeddings)$")
"""How the path of a kernel ends. Keras names them so in all its layers, and in the cells within them."""

_TRANSPOSES = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A weight that a layer multiplies its input with, or looks it up in.

    Attributes:
        name: Its path within the layer, such as "kernel" or "query/kernel".
        variable: The float variable that training updates.
        channel_axes: The axes that number output channels.
    """

    name: str
    variable: keras.Variable
    channel_axes: tuple[int, ...]


def kernels_of(layer: keras.layers.Layer) -> list[Kernel]:
    """Returns the kernels of a built layer and of the layers within it, in the order of its weights."""
    owners = {id(v): part for part in parts(layer) for v in _own(part)}
    found: list[Kernel] = []
    for variable in layer.weights:
        if not _is_kernel(variable):
            continue
        name = _within(variable.path, layer.name)
        taken = {kernel.name for kernel in found}
        # A layer may give two of its weights one path.
        unique = name if name not in taken else f"{name}_{len(found)}"
        owner = owners.get(id(variable), layer)
        found.append(Kernel(unique, variable, _channel_axes(owner, variable)))
    return found


def parts(layer: Any) -> Iterator[keras.layers.Layer]:
    """Yields a layer and the layers within it, each once, outer ones first."""
    seen: set[int] = set()
    stack: list[Any] = [layer]
    while stack:
        value = stack.pop()
        if isinstance(value, keras.layers.Layer):
            if id(value) in seen:
                continue
            seen.add(id(value))
            yield value
            stack.extend(reversed(list(vars(value).values())))
        elif isinstance(value, (list, tuple)):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            stack.extend(reversed(list(value.values())))


def _is_kernel(variable: keras.Variable) -> bool:
    is_float = "float" in str(variable.dtype)
    return is_float and len(variable.shape) > 1 and _NAME.search(variable.path) is not None


def _own(layer: keras.layers.Layer) -> list[Any]:
    return [value for value in vars(layer).values() if isinstance(value, keras.Variable)]


def _within(path: str, layer: str) -> str:
    """A variable's path without its layer's name and what comes before it."""
    return f"/{path}".partition(f"/{layer}/")[2] or path


def _channel_axes(owner: keras.layers.Layer, variable: keras.Variable) -> tuple[int, ...]:
    rank = len(variable.shape)
    if isinstance(owner, _TRANSPOSES):
        return (rank - 2,)
    if isinstance(owner, _DEPTHWISE) or variable.name == "depthwise_kernel":
        return (rank - 2, rank - 1)
    if isinstance(owner, keras.layers.EinsumDense):
        return channel_axes(owner.equation)
    return (rank - 1,)
