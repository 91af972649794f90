"""Weight quantizers as tfmot objects: thin, serialisable, stateless classes around `arithmetic`."""

import abc
from typing import Any, Literal

from tfqkd.compat import keras, tf, tfmot, true_value
from tfqkd.quantization import arithmetic
from tfqkd.quantization.kernels import require_kernel

Granularity = Literal["tensor", "channel"]
StepUpdate = Literal["once", "every_step"]

GRANULARITIES: tuple[str, ...] = ("tensor", "channel")
STEP_UPDATES: tuple[str, ...] = ("once", "every_step")


class WeightQuantizer(tfmot.quantization.keras.quantizers.Quantizer, abc.ABC):
    """A quantizer of a layer's kernel: what every weight quantizer of tfqkd offers.

    It holds settings only. Its state (a step, and whatever another quantizer learns) lives in variables of
    the wrapped layer: `build` makes them and `__call__` gets them back.

    Attributes:
        bits: Width of a code, 2 to 8.
    """

    bits: int

    @abc.abstractmethod
    def with_bits(self, bits: int) -> "WeightQuantizer":
        """Returns the same quantizer with another width."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), *self.get_config().items()))


@keras.utils.register_keras_serializable(package="tfqkd")
class UniformQuantizer(WeightQuantizer):
    """The uniform symmetric quantizer of the paper, with the step that minimises the L2 error.

    `Q(w) = Δ · sign(w) · min(⌊|w|/Δ + 1/2⌋, 2^(bits-1) - 1)`, gradient `∂Q/∂w = 1` (straight-through).
    Source: arXiv 1909.01688; for 2 bits the levels are -Δ, 0, Δ.

    Args:
        bits: 2 (ternary) to 8.
        granularity: "tensor" (default, as in the paper): one step per layer. "channel": one per output
            channel; before a batch norm, which scales each channel anyway, it buys little.
        step_update: "once" (default, as in the paper): the step is the optimum for the weights that the
            layer holds when it is quantized, and stays. "every_step": it follows the latent weights at
            every training step (`arithmetic.follow_step`).

    Raises:
        ValueError: If a setting is none of the above.
    """

    def __init__(
        self,
        bits: int = 2,
        granularity: Granularity = "tensor",
        step_update: StepUpdate = "once",
    ) -> None:
        arithmetic.largest_code(bits)
        _require("granularity", granularity, GRANULARITIES)
        _require("step_update", step_update, STEP_UPDATES)
        self.bits = bits
        self.granularity = granularity
        self.step_update = step_update

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: keras.layers.Layer
    ) -> dict[str, tf.Variable]:
        """Makes the step as a variable of `layer`, a tfmot wrapper, from the weights it holds now."""
        kernel = require_kernel(layer.layer)
        axes = kernel.channel_axes if self.granularity == "channel" else None
        latent = true_value(getattr(layer.layer, kernel.attribute))
        step = layer.add_weight(
            name=f"{name}_step",
            shape=arithmetic.step_shape(tensor_shape, axes),
            dtype=tf.float32,
            initializer=lambda shape, dtype: arithmetic.optimal_step(latent, self.bits, axes),
            trainable=False,
            experimental_autocast=False,
            # Each replica computes the same step from the same weights: keep them apart, read the first.
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        return {"step": step}

    def __call__(
        self, inputs: tf.Variable, training: bool, weights: dict[str, tf.Variable], **_: Any
    ) -> tf.Tensor:
        """Returns the quantized weights, in the dtype that the layer computes in."""
        latent = true_value(inputs)
        step = tf.convert_to_tensor(weights["step"])
        if training and self.step_update == "every_step":
            step = arithmetic.follow_step(tf.stop_gradient(latent), step, self.bits)
            weights["step"].assign(step)
        return tf.cast(arithmetic.quantize(latent, step, self.bits), inputs.dtype)

    def with_bits(self, bits: int) -> "UniformQuantizer":
        """Returns the same quantizer with another width."""
        return UniformQuantizer(bits, self.granularity, self.step_update)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "bits": self.bits,
            "granularity": self.granularity,
            "step_update": self.step_update,
        }


def _require(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(allowed)}. Received: {name}={value!r}."
        )
