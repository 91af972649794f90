"""Gradual quantization: from more bits to fewer, or on a share of the weights that grows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf, true_value
from tfqkd.quantization.model import QuantizedKernel, quantized_kernels
from tfqkd.quantization.quantizers import WeightQuantizer, add_followed

_WIDTH, _SHARE, _MASK, _RESTING = "width", "share", "mask", "resting"


@keras.utils.register_keras_serializable(package="tfqkd")
class GradualQuantizer(WeightQuantizer):
    """Another quantizer that is reached gently; `GradualQuantization` moves it on during `fit`.

    Wider first: the weights have the first of `wider` bits, then the next, at last those of the quantizer;
    each width has a state of its own (a step, say), taken anew from the latent weights when its turn comes.

    By share, after incremental network quantization (arXiv 1702.03044, section 3): only the weights of
    largest magnitude are quantized, a share that grows; they rest while the others, still float, make up for
    their error. Unlike there, when all are quantized they train on, straight through.

    Args:
        quantizer: The quantizer of the end.
        wider: Widths that come before its own, falling.
        by_share: Whether a growing share of the weights is quantized.

    Raises:
        ValueError: If `wider` does not fall towards the quantizer's bits.
    """

    def __init__(
        self, quantizer: WeightQuantizer, wider: Sequence[int] = (), by_share: bool = False
    ) -> None:
        self.quantizer = quantizer
        self.bits = quantizer.bits
        self.granularity = quantizer.granularity
        self.learned = quantizer.learned
        self.gradient_bits = quantizer.gradient_bits
        self.wider = tuple(wider)
        self.by_share = by_share
        widths = [*self.wider, self.bits]
        if widths != sorted(set(widths), reverse=True):
            raise ValueError(
                f"`wider` must fall towards the quantizer's {self.bits} bits. "
                f"Received: wider={self.wider}. For example (8, 4) before 2."
            )
        self.stages = [quantizer.with_bits(bits) for bits in widths]

    def make_state(
        self, layer: keras.layers.Layer, weight: str, prefix: str
    ) -> dict[str, tf.Variable]:
        """Makes the states of all widths, the index of the present one, the share, and who rests where."""
        state: dict[str, tf.Variable] = {}
        for stage in self.stages:
            made = stage.make_state(layer, weight, f"{prefix}_{stage.bits}bit")
            state |= {f"{stage.bits}/{key}": variable for key, variable in made.items()}
        shape = getattr(layer.layer, weight).shape
        state[_WIDTH] = add_followed(layer, f"{prefix}_{_WIDTH}", tf.zeros([]))
        if self.by_share:
            state[_SHARE] = add_followed(layer, f"{prefix}_{_SHARE}", tf.zeros([]))
            state[_MASK] = add_followed(layer, f"{prefix}_{_MASK}", tf.zeros(shape))
            state[_RESTING] = add_followed(layer, f"{prefix}_{_RESTING}", tf.zeros(shape))
        return state

    def __call__(
        self, inputs: tf.Variable, training: bool, weights: dict[str, tf.Variable], **options: Any
    ) -> tf.Tensor:
        """Returns the weights as the layer uses them; in training, those that rest are put back first.

        The optimizer's momentum and weight decay move them without a gradient. That is undone in the graph:
        it does not matter how many steps a call of the compiled function makes.
        """
        if training and self.by_share:
            inputs.assign(_put_back(true_value(inputs), weights))
        return super().__call__(inputs, training, weights, **options)

    def value(
        self, latent: tf.Tensor, training: bool, weights: dict[str, tf.Variable]
    ) -> tf.Tensor:
        """Returns the weights at the present width, the share's quantized and the others as they are."""
        if not self.by_share:
            return self._at_width(latent, training, weights)
        latent = _put_back(latent, weights)
        complete = tf.convert_to_tensor(weights[_SHARE]) >= 1.0
        trained = tf.where(complete, latent, tf.stop_gradient(latent))
        quantized = self._at_width(trained, training, weights)
        chosen = tf.logical_or(complete, tf.convert_to_tensor(weights[_MASK]) > 0)
        return tf.where(chosen, quantized, latent)

    def _at_width(
        self, latent: tf.Tensor, training: bool, weights: dict[str, tf.Variable]
    ) -> tf.Tensor:
        def value_of(stage: WeightQuantizer) -> tf.Tensor:
            return stage.value(latent, training, _state_of(stage, weights))

        if len(self.stages) == 1:
            return value_of(self.stages[0])
        index = tf.cast(tf.convert_to_tensor(weights[_WIDTH]), tf.int32)
        return tf.switch_case(index, [lambda stage=stage: value_of(stage) for stage in self.stages])

    def initial_state(
        self, latent: tf.Tensor, channel_axes: Sequence[int] | None
    ) -> dict[str, tf.Tensor]:
        """Returns that of the quantizer of the end."""
        return self.quantizer.initial_state(latent, channel_axes)

    def quantize(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the weights as the quantizer of the end has them."""
        return self.quantizer.quantize(latent, _state_of(self.stages[-1], state))

    def scales(self, latent: tf.Tensor, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns those of the present width."""
        stage = self.stages[int(state[_WIDTH])]
        latent = _put_back(latent, state) if self.by_share else latent
        return stage.scales(latent, _state_of(stage, state))

    def with_bits(self, bits: int) -> "GradualQuantizer":
        """Returns the same for another width at the end, with the wider ones that remain before it."""
        wider = [width for width in self.wider if width > bits]
        return GradualQuantizer(self.quantizer.with_bits(bits), wider, self.by_share)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "quantizer": keras.utils.legacy.serialize_keras_object(self.quantizer),
            "wider": list(self.wider),
            "by_share": self.by_share,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GradualQuantizer":
        """Rebuilds the quantizer."""
        quantizer = keras.utils.legacy.deserialize_keras_object(config["quantizer"])
        return cls(quantizer, config["wider"], config["by_share"])

    def __hash__(self) -> int:
        return hash((GradualQuantizer, self.quantizer, self.wider, self.by_share))

    __eq__ = WeightQuantizer.__eq__


class GradualQuantization(keras.callbacks.Callback):
    """Moves the gradual quantizers of a model, or of a distiller's student, on at the start of epochs.

    The widths of a quantizer share the epochs evenly, and so do the shares with the 1 that ends them. What
    has been reached lies in variables: a training that is resumed goes on with it.

    Example:
        ```python
        scheme = Scheme(GradualQuantizer(UniformQuantizer(2), wider=(8, 4)))
        quantized = tfqkd.quantize_model(model, scheme)
        quantized.fit(train, epochs=12, callbacks=[GradualQuantization()])
        ```

    Args:
        shares: Shares of the weights before all are quantized, rising within (0, 1); for quantizers with
            `by_share`.

    Raises:
        ValueError: If the shares do not rise within (0, 1), or, at the start of `fit`, if no quantizer is
            gradual, or there are fewer epochs than widths or shares: the last would never be reached.
    """

    def __init__(self, shares: Sequence[float] = ()) -> None:
        super().__init__()
        # Metrics may stay on their device: no step needs them.
        self._supports_tf_logs = True
        if list(shares) != sorted(set(shares)) or not all(0 < share < 1 for share in shares):
            raise ValueError(
                f"`shares` must rise within (0, 1). Received: shares={tuple(shares)}. "
                "For example (0.5, 0.75, 0.875)."
            )
        self.shares = (*shares, 1.0)
        self._kernels: list[QuantizedKernel] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the gradual quantizers, and requires epochs enough for them."""
        model: Any = getattr(self.model, "student", self.model)
        self._kernels = [
            kernel
            for kernel in quantized_kernels(model)
            if isinstance(kernel.quantizer, GradualQuantizer)
        ]
        if not self._kernels:
            raise ValueError(
                "GradualQuantization needs a model with gradual quantizers. "
                f"Received: {model.name}. Quantize it with Scheme(GradualQuantizer(...))."
            )
        widths = max(len(kernel.quantizer.stages) for kernel in self._kernels)
        if self.params["epochs"] < max(widths, len(self.shares)):
            raise ValueError(
                "`epochs` must be at least one for each width, and for each share with the 1 that ends them. "
                f"Received: epochs={self.params['epochs']} for {widths} widths and shares={self.shares}. "
                "Train longer, or take fewer."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets width and share of the epoch."""
        epochs = self.params["epochs"]
        # A checkpoint of another callback's may hold them as the last step of an epoch left them.
        self._put_back()
        for kernel in self._kernels:
            _set_width(kernel, epoch * len(kernel.quantizer.stages) // epochs)
            if kernel.quantizer.by_share:
                _set_share(kernel, self.shares[epoch * len(self.shares) // epochs])

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts back the weights that rest, which the last step has moved: a regulariser reads them."""
        self._put_back()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts them back also where nothing was validated."""
        self._put_back()

    def _put_back(self) -> None:
        for kernel in self._kernels:
            if kernel.quantizer.by_share:
                kernel.latent.assign(_put_back(true_value(kernel.latent), kernel.state))


def _set_width(kernel: QuantizedKernel, index: int) -> None:
    if int(kernel.state[_WIDTH].numpy()) == index:
        return
    stage = kernel.quantizer.stages[index]
    state = _state_of(stage, kernel.state)
    # The axes of a per-channel scale are those that its present shape keeps.
    shapes = [variable.shape for variable in state.values() if len(variable.shape)]
    axes = [axis for axis, size in enumerate(shapes[0]) if size != 1] if shapes else None
    latent = tf.convert_to_tensor(kernel.latent)
    for name, value in stage.initial_state(latent, axes or None).items():
        state[name].assign(value)
    kernel.state[_WIDTH].assign(float(index))


def _set_share(kernel: QuantizedKernel, share: float) -> None:
    if float(kernel.state[_SHARE].numpy()) == np.float32(share):
        return
    latent, mask = kernel.latent.numpy(), kernel.state[_MASK].numpy()
    # Who is quantized already stays so; then the largest follow.
    order = np.lexsort((np.abs(latent).ravel(), mask.ravel()))[::-1]
    chosen = np.zeros(latent.size, np.float32)
    chosen[order[: round(share * latent.size)]] = 1.0
    kernel.state[_MASK].assign(chosen.reshape(latent.shape))
    kernel.state[_RESTING].assign(latent)
    kernel.state[_SHARE].assign(share)


def _put_back(latent: tf.Tensor, state: dict[str, Any]) -> tf.Tensor:
    """Returns the weights with those that rest where they were when they began to."""
    share, mask, resting = (tf.convert_to_tensor(state[name]) for name in (_SHARE, _MASK, _RESTING))
    return tf.where(tf.logical_and(share < 1.0, mask > 0), resting, latent)


def _state_of(stage: WeightQuantizer, weights: dict[str, Any]) -> dict[str, Any]:
    prefix = f"{stage.bits}/"
    return {key.removeprefix(prefix): w for key, w in weights.items() if key.startswith(prefix)}
