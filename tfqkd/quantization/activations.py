"""Activation quantizers as tfmot objects: LSQ and PACT, put on the output of the layer before."""

import abc
from typing import Any

from tfqkd.compat import keras, tf, tfmot
from tfqkd.quantization import clipping, learned_step
from tfqkd.quantization.quantizers import add_learned


class ActivationQuantizer(tfmot.quantization.keras.quantizers.Quantizer, abc.ABC):
    """A quantizer of a layer's output, with one learned scale for the tensor.

    Attributes:
        bits: Width of a code, 2 to 8.
        signed: Whether its inputs may be negative.
    """

    _variable: str

    def __init__(self, bits: int = 8, signed: bool = False) -> None:
        self.bits = bits
        self.signed = signed
        self.code_range()

    @abc.abstractmethod
    def code_range(self) -> tuple[int, int]:
        """Returns the least and the largest code."""

    @abc.abstractmethod
    def first_value(self, mean: float, largest: float) -> float:
        """Returns the first value of the learned scale for inputs of this mean and largest magnitude."""

    @abc.abstractmethod
    def quantize(self, values: tf.Tensor, learned: tf.Tensor) -> tf.Tensor:
        """Returns the quantized float32 values, with their pseudo-gradient."""

    @abc.abstractmethod
    def step(self, learned: tf.Tensor) -> tf.Tensor:
        """Returns the step Δ, a float32 scalar: every output is Δ times a code."""

    def variable(self, weights: dict[str, tf.Variable]) -> tf.Variable:
        """Returns the learned scale among the variables that `build` made."""
        return weights[self._variable]

    def with_bits(self, bits: int, signed: bool) -> "ActivationQuantizer":
        """Returns the same quantizer with another width and sign."""
        return type(self).from_config({**self.get_config(), "bits": bits, "signed": signed})

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: keras.layers.Layer
    ) -> dict[str, tf.Variable]:
        """Makes the learned scale as a variable of `layer`, a tfmot wrapper.

        It starts as for a rectified (signed: plain) standard normal input;
        `calibration.calibrate_activations` starts it from data.
        """
        del tensor_shape
        mean = _NORMAL_MEAN if self.signed else _NORMAL_MEAN / 2
        first = tf.constant(self.first_value(mean, _NORMAL_LARGEST))
        return {self._variable: add_learned(layer, f"{name}_{self._variable}", first)}

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **_: Any
    ) -> tf.Tensor:
        """Returns the quantized activations, in the dtype that they came in."""
        learned = tf.convert_to_tensor(self.variable(weights))
        return tf.cast(self.quantize(tf.cast(inputs, tf.float32), learned), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"bits": self.bits, "signed": self.signed}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), *self.get_config().items()))


_NORMAL_MEAN = 0.7978845608
"""E|x| of a standard normal x, sqrt(2/π)."""

_NORMAL_LARGEST = 4.0


@keras.utils.register_keras_serializable(package="tfqkd")
class LsqActivationQuantizer(ActivationQuantizer):
    """LSQ for activations (arXiv 1902.08153): a learned step; formula and gradient: `learned_step.lsq`.

    Codes are 0 to 2^b - 1, signed -2^(b-1) to 2^(b-1) - 1. The step starts at `2·E|x|/sqrt(Q_P)`.

    Args:
        bits: 2 to 8.
        signed: Whether inputs may be negative.

    Raises:
        ValueError: If `bits` is none of these.
    """

    _variable = "step"

    def code_range(self) -> tuple[int, int]:
        """Returns `-Q_N` and `Q_P`."""
        return learned_step.code_range(self.bits, self.signed)

    def first_value(self, mean: float, largest: float) -> float:
        """Returns `2·E|x|/sqrt(Q_P)`."""
        del largest
        return max(2 * mean / self.code_range()[1] ** 0.5, learned_step.SMALLEST_STEP)

    def quantize(self, values: tf.Tensor, learned: tf.Tensor) -> tf.Tensor:
        """Returns `learned_step.lsq`; an example's activations count for the gradient's scale."""
        lower, upper = self.code_range()
        count = tf.reduce_prod(tf.shape(values)[1:])
        return learned_step.lsq(
            values, learned, lower, upper, learned_step.gradient_scale(count, upper)
        )

    def step(self, learned: tf.Tensor) -> tf.Tensor:
        """Returns the learned step."""
        return tf.convert_to_tensor(learned)


@keras.utils.register_keras_serializable(package="tfqkd")
class PactQuantizer(ActivationQuantizer):
    """PACT (arXiv 1805.06085): a learned clipping value; formula and gradient: `clipping.pact`.

    Codes are 0 to 2^b - 1, signed -(2^(b-1) - 1) to 2^(b-1) - 1. The clipping value starts at the largest
    magnitude seen, and an L2 loss of its own draws it in, as published.

    Args:
        bits: 2 to 8.
        signed: Whether inputs may be negative.
        regularization: Factor of `α²` in the loss; 2e-4 as for the paper's ResNet20, whose factor for `α` is
            that of the weights (appendices A.2 and B).

    Raises:
        ValueError: If `bits` is none of these, or `regularization` is negative.
    """

    _variable = "clip"

    def __init__(self, bits: int = 8, signed: bool = False, regularization: float = 2e-4) -> None:
        super().__init__(bits, signed)
        if not regularization >= 0:
            raise ValueError(
                f"`regularization` must be 0 or more. Received: regularization={regularization}."
            )
        self.regularization = regularization

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: keras.layers.Layer
    ) -> dict[str, tf.Variable]:
        """Makes the clipping value, and adds its loss."""
        weights = super().build(tensor_shape, name, layer)
        layer.add_loss(lambda: self.regularization * tf.square(self.variable(weights)))
        return weights

    def code_range(self) -> tuple[int, int]:
        """Returns `-n` or 0, and `n`, the number of steps up to the clipping value."""
        levels = clipping.pact_levels(self.bits, self.signed)
        return (-levels if self.signed else 0), levels

    def first_value(self, mean: float, largest: float) -> float:
        """Returns the largest magnitude: at first nothing is clipped."""
        del mean
        return max(largest, learned_step.SMALLEST_STEP)

    def quantize(self, values: tf.Tensor, learned: tf.Tensor) -> tf.Tensor:
        """Returns `clipping.pact`."""
        return clipping.pact(values, learned, self.bits, self.signed)

    def step(self, learned: tf.Tensor) -> tf.Tensor:
        """Returns `α/n`."""
        return tf.convert_to_tensor(learned) / self.code_range()[1]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "regularization": self.regularization}
