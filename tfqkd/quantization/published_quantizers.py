"""The field's other weight quantizers as tfmot objects: TWN, TTQ, LSQ and DoReFa."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.quantization import arithmetic, dorefa, learned_step, ternary
from tfqkd.quantization.quantizers import (
    GRANULARITIES,
    Granularity,
    WeightQuantizer,
    require_choice,
)


@keras.utils.register_keras_serializable(package="tfqkd")
class TwnQuantizer(WeightQuantizer):
    """Ternary weight networks (arXiv 1605.04711): threshold 0.7·E|w|, scale the mean |w| above it.

    Both follow the latent weights at every step. Formula and gradient: `ternary.twn`.
    """

    bits = 2

    def initial_state(
        self, latent: tf.Tensor, channel_axes: Sequence[int] | None
    ) -> dict[str, tf.Tensor]:
        """Returns nothing: threshold and scale come from the weights."""
        return {}

    def quantize(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `ternary.twn`."""
        return ternary.twn(latent)

    def scales(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the scale α."""
        return ternary.twn_scale(latent, ternary.twn_threshold(latent))

    def with_bits(self, bits: int) -> "TwnQuantizer":
        """Returns the same quantizer; it knows two bits only."""
        _require_two_bits(self, bits)
        return self

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor: none."""
        return {}


@keras.utils.register_keras_serializable(package="tfqkd")
class TtqQuantizer(WeightQuantizer):
    """Trained ternary quantization (arXiv 1612.01064): -Wn, 0 and Wp with two learned scales.

    The threshold is 0.05·max|w|; the scales start from the mean magnitudes of the weights beyond it on
    either side, which is the L2 optimum. Formula and gradient: `ternary.ttq`.
    """

    bits = 2
    learned = True

    def initial_state(
        self, latent: tf.Tensor, channel_axes: Sequence[int] | None
    ) -> dict[str, tf.Tensor]:
        """Returns the first `positive` and `negative` scales, `Wp` and `Wn`."""
        threshold = ternary.ttq_threshold(latent)
        return {
            "positive": ternary.twn_scale(tf.nn.relu(latent), threshold),
            "negative": ternary.twn_scale(tf.nn.relu(-latent), threshold),
        }

    def quantize(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `ternary.ttq`."""
        threshold = ternary.ttq_threshold(tf.stop_gradient(latent))
        return ternary.ttq(latent, threshold, state["positive"], state["negative"])

    def scales(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `Wp` and `Wn`, shape [2]."""
        return tf.stack([state["positive"], state["negative"]])

    def with_bits(self, bits: int) -> "TtqQuantizer":
        """Returns the same quantizer; it knows two bits only."""
        _require_two_bits(self, bits)
        return self

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor: none."""
        return {}


@keras.utils.register_keras_serializable(package="tfqkd")
class LsqQuantizer(WeightQuantizer):
    """Learned step size quantization (arXiv 1902.08153): codes -2^(b-1) to 2^(b-1) - 1, a learned step.

    Formula, gradient and its scale: `learned_step.lsq`. The first step is `2·E|w|/sqrt(Q_P)`.

    Args:
        bits: 2 to 8; 2 has the four codes -2, -1, 0 and 1.
        granularity: "tensor" (default, as published): one step per layer. "channel": one per output
            channel; a batch norm behind the layer scales each channel anyway and leaves the step little
            gradient.

    Raises:
        ValueError: If a setting is none of the above.
    """

    learned = True

    def __init__(self, bits: int = 2, granularity: Granularity = "tensor") -> None:
        arithmetic.largest_code(bits)
        require_choice("granularity", granularity, GRANULARITIES)
        self.bits = bits
        self.granularity = granularity

    def initial_state(
        self, latent: tf.Tensor, channel_axes: Sequence[int] | None
    ) -> dict[str, tf.Tensor]:
        """Returns the first step."""
        _, upper = learned_step.code_range(self.bits)
        return {"step": learned_step.initial_step(latent, upper, channel_axes)}

    def quantize(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `learned_step.lsq`."""
        lower, upper = learned_step.code_range(self.bits)
        count = latent.shape.num_elements() // state["step"].shape.num_elements()
        gradient_scale = learned_step.gradient_scale(count, upper)
        return learned_step.lsq(latent, state["step"], lower, upper, gradient_scale)

    def scales(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the step."""
        return state["step"]

    def with_bits(self, bits: int) -> "LsqQuantizer":
        """Returns the same quantizer with another width."""
        return LsqQuantizer(bits, self.granularity)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"bits": self.bits, "granularity": self.granularity}


@keras.utils.register_keras_serializable(package="tfqkd")
class DorefaQuantizer(WeightQuantizer):
    """DoReFa-Net's weights (arXiv 1606.06160): tanh, scaled to [-1, 1], on 2^b levels without zero.

    Formula and gradient: `dorefa.dorefa`. The scale of the weights is lost: put it on layers that a batch
    norm follows.

    Args:
        bits: 2 to 8.
        gradient_bits: Width, 2 to 8, to which the gradients of the layers' outputs are rounded
            stochastically (`dorefa.round_gradient`); None (default) leaves them float.

    Raises:
        ValueError: If `bits` or `gradient_bits` is none of these.
    """

    def __init__(self, bits: int = 2, gradient_bits: int | None = None) -> None:
        arithmetic.largest_code(bits)
        if gradient_bits is not None:
            arithmetic.largest_code(gradient_bits)
        self.bits = bits
        self.gradient_bits = gradient_bits

    def initial_state(
        self, latent: tf.Tensor, channel_axes: Sequence[int] | None
    ) -> dict[str, tf.Tensor]:
        """Returns nothing: the levels are fixed."""
        return {}

    def quantize(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `dorefa.dorefa`."""
        return dorefa.dorefa(latent, self.bits)

    def scales(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `1/n`, by which the odd codes are multiplied."""
        return tf.constant(1.0 / dorefa.level_count(self.bits))

    def with_bits(self, bits: int) -> "DorefaQuantizer":
        """Returns the same quantizer with another width."""
        return DorefaQuantizer(bits, self.gradient_bits)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"bits": self.bits, "gradient_bits": self.gradient_bits}


def _require_two_bits(quantizer: WeightQuantizer, bits: int) -> None:
    if bits != 2:
        raise ValueError(
            f"{type(quantizer).__name__} is ternary: `bits` must be 2. Received: bits={bits!r}. "
            "For other widths choose LsqQuantizer, DorefaQuantizer or UniformQuantizer."
        )
