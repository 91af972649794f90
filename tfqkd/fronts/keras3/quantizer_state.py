"""What a quantized layer holds: kernels with the state of their quantizers, and the scale of its output."""

import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np

from tfqkd.core.activations import ActivationQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.steps import SMALLEST_STEP
from tfqkd.fronts.keras3.kernels import Kernel
from tfqkd.fronts.keras3.ops import OPS

_ops = keras.ops
State = dict[str, keras.Variable]
Draw = Callable[[keras.Variable], tuple[int, Any]]
second_pass: ContextVar[Draw | None] = ContextVar("second_pass", default=None)
"""In a second pass of a network: from a learned scale to a width, and whether it is that this time."""


@dataclasses.dataclass(frozen=True, eq=False)
class HeldKernel:
    """A kernel, its quantizer, and the quantizer's state in float32 variables of the layer around it.

    Attributes:
        kernel: The kernel.
        quantizer: Its quantizer.
        state: The quantizer's variables by name.
    """

    kernel: Kernel
    quantizer: WeightQuantizer
    state: State

    @classmethod
    def of(
        cls, layer: keras.layers.Layer, kernel: Kernel, quantizer: WeightQuantizer
    ) -> "HeldKernel":
        """Makes the state as variables of `layer`, from the values that the kernel has now.

        They are called "<kernel>_<name>". On JAX a kernel may get its value later: so do they.
        """
        prefix = kernel.name.replace("/", "_")
        shapes = quantizer.initial_state(_zeros(kernel), kernel.channel_axes)
        state = {
            name: layer.add_weight(
                shape=np.shape(first),
                initializer=_First(kernel, quantizer, name),
                dtype="float32",
                autocast=False,
                trainable=name in quantizer.learned,
                constraint=_positive if name in quantizer.learned else None,
                name=f"{prefix}_{name}",
            )
            for name, first in shapes.items()
        }
        return cls(kernel, quantizer, state)

    def restart(self) -> None:
        """Starts the state from the values that the kernel has now."""
        for name, value in _first_state(self.kernel, self.quantizer).items():
            self.state[name].assign(value)

    def value(self, moving: bool = False) -> Any:
        """Returns the quantized kernel, float32.

        Args:
            moving: Whether the state takes the step of a training first.
        """
        latent, state = self._latent(), self._state()
        if moving and self.quantizer.rests:
            latent = self.quantizer.restored(latent, state, OPS)
            self.kernel.variable.assign(latent)
        if moving:
            updated = self.quantizer.updated(_ops.stop_gradient(latent), state, OPS)
            for name, value in updated.items():
                self.state[name].assign(value)
            state |= updated
        return self.quantizer.quantize(latent, state, OPS)

    def scales(self) -> Any:
        """Returns the numbers that are kept beside the codes, float32."""
        return self.quantizer.scales(self._latent(), self._state(), OPS)

    def _latent(self) -> Any:
        return _ops.cast(self.kernel.variable.value, "float32")

    def _state(self) -> dict[str, Any]:
        return {name: variable.value for name, variable in self.state.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutput:
    """The quantizer of a layer's output, and its learned scale in a float32 variable of the layer around it.

    Attributes:
        quantizer: The quantizer.
        learned: The scale that it trains.
    """

    quantizer: ActivationQuantizer
    learned: keras.Variable

    @classmethod
    def of(cls, layer: keras.layers.Layer, quantizer: ActivationQuantizer) -> "HeldOutput":
        """Makes the scale, as for a normal input; `calibrate_activations` starts it from data."""
        learned = layer.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(quantizer.uncalibrated()),
            dtype="float32",
            autocast=False,
            constraint=_positive,
            # A penalty counts once, however often the layer is called.
            regularizer=quantizer.penalty if _penalized(quantizer) else None,
            name=f"output_{quantizer.variable}",
        )
        return cls(quantizer, learned)

    def value(self, outputs: Any) -> Any:
        """Returns the quantized outputs, in the dtype that they came in."""

        scale, draw = self.learned.value, second_pass.get()

        def quantized(values: Any) -> Any:
            exact = _ops.cast(values, "float32")
            coarse = self.quantizer.quantize(exact, scale, OPS)
            if draw is None:
                return _ops.cast(coarse, values.dtype)
            bits, is_raised = draw(self.learned)
            finer = self.quantizer.with_bits(bits, self.quantizer.signed)
            raised = finer.quantize(exact, self.quantizer.scale_at(scale, bits), OPS)
            return _ops.cast(_ops.where(is_raised, raised, coarse), values.dtype)

        return keras.tree.map_structure(quantized, outputs)

    @property
    def step(self) -> float:
        """The trained step Δ: every activation is Δ times a code, zero is the code 0."""
        return float(self.quantizer.step(self.learned.value))


class _First(keras.initializers.Initializer):
    """The first value of a quantizer's state: a function of the kernel's value."""

    def __init__(self, kernel: Kernel, quantizer: WeightQuantizer, name: str) -> None:
        self._kernel, self._quantizer, self._name = kernel, quantizer, name

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        first = _first_state(self._kernel, self._quantizer)[self._name]
        return _ops.convert_to_tensor(first, dtype)

    def clone(self) -> "_First":
        return self


def _first_state(kernel: Kernel, quantizer: WeightQuantizer) -> dict[str, np.ndarray]:
    try:
        latent = _ops.convert_to_numpy(kernel.variable.value).astype(np.float32)
    except Exception:  # While Keras traces a model to build it, values are symbols: shapes count.
        latent = _zeros(kernel)
    return quantizer.initial_state(latent, kernel.channel_axes)


def _zeros(kernel: Kernel) -> np.ndarray:
    return np.zeros(kernel.variable.shape, np.float32)


def _penalized(quantizer: ActivationQuantizer) -> bool:
    return quantizer.penalty(np.float32(1.0)) is not None


def _positive(value: Any) -> Any:
    return _ops.maximum(value, SMALLEST_STEP)
