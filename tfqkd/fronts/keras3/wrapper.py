"""The layer that computes with quantized kernels, and whose output may be quantized."""

from typing import Any

import keras

from tfqkd.core.activations import ActivationQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.serialization import deserialized, serialized
from tfqkd.fronts.keras3.gradients import GradientRounding
from tfqkd.fronts.keras3.kernels import kernels_of
from tfqkd.fronts.keras3.quantizer_state import HeldKernel, HeldOutput


@keras.saving.register_keras_serializable("tfqkd")
class QuantizedLayer(keras.layers.Wrapper):
    """A layer, or a whole subclassed model, that computes with quantized kernels under its own name.

    During its call every kernel reads as its quantized value: the layer is called in a `keras.StatelessScope`
    that maps kernels to these values. The latent kernels stay the layer's own variables, so that optimizers,
    regularisers, files and `trainable` find them where they were. What quantizers keep (a step, say) is in
    float32 variables beside them.

    Wrap a layer by hand in a subclassed model; everything else is `quantize_model`'s to do:

        ```python
        self.hidden = tfqkd.keras3.QuantizedLayer(keras.layers.Dense(64), UniformQuantizer(2))
        ```

    Args:
        layer: The layer. If it is not built yet it is when this one is, and then takes one input.
        weights: The quantizer of every kernel within it; None leaves them float.
        output: The quantizer of what it puts out, behind its own activation; None leaves it float.
        **kwargs: As for any Keras layer; name and dtype are those of `layer` by default.

    Raises:
        ValueError: If kernels are to be quantized and the layer has none; when it is built.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        weights: WeightQuantizer | None = None,
        output: ActivationQuantizer | None = None,
        **kwargs: Any,
    ) -> None:
        # Without autocast, variables read here in float32: the layer casts what it reads itself.
        kwargs = {"name": layer.name, "dtype": layer.dtype_policy, **kwargs, "autocast": False}
        super().__init__(layer, **kwargs)
        self.weights_quantizer = weights
        self.output_quantizer = output
        self.supports_masking = layer.supports_masking
        self._kernels: list[HeldKernel] = []
        self._output: HeldOutput | None = None
        self._rounding = (
            GradientRounding(weights.gradient_bits) if weights and weights.gradient_bits else None
        )
        if layer.built:
            self._hold()
            self.built = True

    def build(self, input_shape: Any) -> None:
        """Builds the layer, and what quantizers keep from the weights that it starts with."""
        super().build(input_shape)
        self._hold()

    @property
    def quantized(self) -> list[HeldKernel]:
        """The kernels that are quantized."""
        return list(self._kernels)

    @property
    def quantized_output(self) -> HeldOutput | None:
        """The quantized output; None where it is float."""
        return self._output

    def restart(self) -> None:
        """Starts what the quantizers of kernels keep from the weights that the layer holds now."""
        for held in self._kernels:
            held.restart()

    def call(
        self, inputs: Any = None, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        """Returns what the layer computes with its quantized kernels, quantized if its output is to be."""
        # Keras builds by the shape of the first argument; all may be given by name.
        positional = args if inputs is None else (inputs, *args)
        moving = bool(training) and self.trainable
        outputs = self._computed(
            {id(h.kernel.variable): h.value(moving) for h in self._kernels}, positional, kwargs
        )
        if self._rounding is not None and training:
            outputs = self._rounding(outputs)
        return self._output.value(outputs) if self._output else outputs

    def compute_output_spec(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Returns the layer's."""
        del training
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the layer's."""
        return self.layer.compute_mask(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        quantizers = {"weights": self.weights_quantizer, "output": self.output_quantizer}
        return {
            **super().get_config(),
            **{name: each and serialized(each) for name, each in quantizers.items()},
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "QuantizedLayer":
        """Rebuilds the layer."""
        layer = keras.saving.deserialize_keras_object(config.pop("layer"), custom_objects)
        quantizers = {name: config.pop(name) for name in ("weights", "output")}
        return cls(layer, **{k: v and deserialized(v) for k, v in quantizers.items()}, **config)

    def _hold(self) -> None:
        if self.weights_quantizer is not None:
            kernels = kernels_of(self.layer)
            if not kernels:
                raise ValueError(
                    "A quantized layer must have a kernel. Received: "
                    f"{type(self.layer).__name__} '{self.layer.name}', none of whose weights is named "
                    "kernel, ..._kernel or embeddings and has two axes. Leave it float."
                )
            self._kernels = [HeldKernel.of(self, each, self.weights_quantizer) for each in kernels]
        if self.output_quantizer is not None:
            self._output = HeldOutput.of(self, self.output_quantizer)

    def _computed(self, quantized: dict[int, Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """What the layer returns while its kernels read as the values that are given for their ids."""
        # A scope hides the one around it, which JAX always has: hand on what that one holds.
        variables = self.layer.variables
        values = [quantized.get(id(variable), variable.value) for variable in variables]
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            before = [scope.get_current_value(variable) for variable in variables]
            outputs = self.layer(*args, **kwargs)
            losses = list(scope.losses)
            # On JAX the layer would know them again in the scope around, and they would count twice.
            self.layer._clear_losses()
        # Hand back what the layer changed in it: moving averages, seeds, losses.
        for variable, value in zip(variables, before, strict=True):
            after = scope.get_current_value(variable)
            if after is not value:
                variable.assign(after)
        for loss in losses:
            self.add_loss(loss)
        return outputs


def plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the layer that a quantized one holds; any other layer as it is."""
    return layer.layer if isinstance(layer, QuantizedLayer) else layer
