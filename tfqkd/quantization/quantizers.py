"""Weight quantizers as tfmot objects: thin, serialisable, stateless classes around `arithmetic`."""

import abc
from collections.abc import Sequence
from typing import Any, Literal

from tfqkd.compat import keras, tf, tfmot, true_value
from tfqkd.quantization import arithmetic
from tfqkd.quantization.kernels import require_kernel
from tfqkd.quantization.learned_step import SMALLEST_STEP

Granularity = Literal["tensor", "channel"]
StepUpdate = Literal["once", "every_step"]

GRANULARITIES: tuple[str, ...] = ("tensor", "channel")
STEP_UPDATES: tuple[str, ...] = ("once", "every_step")


class WeightQuantizer(tfmot.quantization.keras.quantizers.Quantizer, abc.ABC):
    """A quantizer of a layer's kernel: what every weight quantizer of tfqkd offers.

    It holds settings only. Its state (a step, and whatever else it takes or learns) lives in variables of
    the wrapped layer: `build` makes them and `__call__` gets them back.

    Attributes:
        bits: Width of a code, 2 to 8.
        granularity: "tensor", or "channel" where each output channel has a scale of its own.
        learned: Whether the optimizer trains the state, by gradient.
        gradient_bits: Width to which the gradients of the layers' outputs are rounded; None for float.
    """

    bits: int
    granularity: Granularity = "tensor"
    learned: bool = False
    gradient_bits: int | None = None

    @abc.abstractmethod
    def initial_state(
        self, latent: tf.Tensor, channel_axes: Sequence[int] | None
    ) -> dict[str, tf.Tensor]:
        """Returns the first values of the state for the weights that a layer holds, by name.

        Args:
            latent: The weights, float32.
            channel_axes: Axes that keep a scale of their own; None for one per tensor.
        """

    @abc.abstractmethod
    def quantize(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the quantized weights, float32, with their pseudo-gradient."""

    @abc.abstractmethod
    def scales(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the positive numbers that are kept beside the codes, float32 of any shape."""

    @abc.abstractmethod
    def with_bits(self, bits: int) -> "WeightQuantizer":
        """Returns the same quantizer with another width.

        Raises:
            ValueError: If it has no such width.
        """

    def updated(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns what a training step assigns to the state before the weights are quantized."""
        del latent, state  # AutoGraph cannot convert a body that is only a return.
        return {}

    def channel_axes(self, layer: keras.layers.Layer, weight: str) -> Sequence[int] | None:
        """Returns the axes of a layer's weight that have scales of their own; None for one scale."""
        axes = require_kernel(layer, weight).channel_axes
        return axes if self.granularity == "channel" else None

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: keras.layers.Layer
    ) -> dict[str, tf.Variable]:
        """Makes the state as variables of `layer`, a tfmot wrapper, from the weights it holds now."""
        del tensor_shape
        _list_weights(layer)
        return self.make_state(layer, name, name)

    def make_state(
        self, layer: keras.layers.Layer, weight: str, prefix: str
    ) -> dict[str, tf.Variable]:
        """Makes the state for a weight of the layer that `layer` wraps; `prefix` starts its names."""
        latent = true_value(getattr(layer.layer, weight))
        first = self.initial_state(latent, self.channel_axes(layer.layer, weight))
        add = add_learned if self.learned else add_followed
        return {key: add(layer, f"{prefix}_{key}", value) for key, value in first.items()}

    def __call__(
        self, inputs: tf.Variable, training: bool, weights: dict[str, tf.Variable], **_: Any
    ) -> tf.Tensor:
        """Returns the quantized weights, in the dtype that the layer computes in."""
        return tf.cast(self.value(true_value(inputs), training, weights), inputs.dtype)

    def value(
        self, latent: tf.Tensor, training: bool, weights: dict[str, tf.Variable]
    ) -> tf.Tensor:
        """Returns the quantized weights, float32; in training the state is updated first."""
        state = {name: tf.convert_to_tensor(variable) for name, variable in weights.items()}
        if training:
            for name, value in self.updated(tf.stop_gradient(latent), state).items():
                weights[name].assign(value)
                state[name] = value
        return self.quantize(latent, state)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), *self.get_config().items()))


@keras.utils.register_keras_serializable(package="tfqkd")
class UniformQuantizer(WeightQuantizer):
    """Uniform symmetric weights with the L2-optimal step (arXiv 1909.01688): -Δ, 0, Δ for 2 bits.

    The formula and the gradient are those of `arithmetic.quantize`.

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
        require_choice("granularity", granularity, GRANULARITIES)
        require_choice("step_update", step_update, STEP_UPDATES)
        self.bits = bits
        self.granularity = granularity
        self.step_update = step_update

    def initial_state(
        self, latent: tf.Tensor, channel_axes: Sequence[int] | None
    ) -> dict[str, tf.Tensor]:
        """Returns the L2-optimal step."""
        return {"step": arithmetic.optimal_step(latent, self.bits, channel_axes)}

    def updated(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the step that follows the weights, if it is taken at every step."""
        if self.step_update == "once":
            return {}
        return {"step": arithmetic.follow_step(latent, state["step"], self.bits)}

    def quantize(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `arithmetic.quantize`."""
        return arithmetic.quantize(latent, state["step"], self.bits)

    def scales(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the step."""
        return state["step"]

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


def add_followed(layer: keras.layers.Layer, name: str, first: tf.Tensor) -> tf.Variable:
    """Adds a float32 variable to a tfmot wrapper that follows the weights and no gradient."""
    _list_weights(layer)
    return layer.add_weight(
        name=name,
        shape=first.shape,
        dtype=tf.float32,
        initializer=lambda shape, dtype: first,
        trainable=False,
        experimental_autocast=False,
        # Each replica computes the same value from the same weights: keep them apart, read the first.
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def add_learned(layer: keras.layers.Layer, name: str, first: tf.Tensor) -> tf.Variable:
    """Adds a float32 variable to a tfmot wrapper that the optimizer trains and keeps above zero."""
    _list_weights(layer)
    return layer.add_weight(
        name=name,
        shape=first.shape,
        dtype=tf.float32,
        initializer=lambda shape, dtype: first,
        constraint=lambda value: tf.maximum(value, SMALLEST_STEP),
        experimental_autocast=False,
    )


def _list_weights(wrapper: keras.layers.Layer) -> None:
    """Lists the weights of the wrapped layer among those of a tfmot wrapper, if they are not.

    tfmot lists them first if the layer was built before, and some of them last if not: a model that is loaded
    would have other lists than the one that was saved, and Keras refuse its file.
    """
    listed = {id(weight) for weight in wrapper._trainable_weights}
    wrapper._trainable_weights.extend(
        weight for weight in wrapper.layer.trainable_weights if id(weight) not in listed
    )


def require_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Requires a setting to be one of a few words.

    Raises:
        ValueError: If it is not.
    """
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(allowed)}. Received: {name}={value!r}."
        )
