"""The tfmot `QuantizeConfig`: which quantizers are put on a layer's kernels and on its output."""

from typing import Any

from tfqkd.compat import keras, tf, tfmot
from tfqkd.quantization.activations import ActivationQuantizer
from tfqkd.quantization.gradients import GradientRounding
from tfqkd.quantization.kernels import require_kernels
from tfqkd.quantization.quantizers import WeightQuantizer


@keras.utils.register_keras_serializable(package="tfqkd")
class LayerQuantizeConfig(tfmot.quantization.keras.QuantizeConfig):
    """Quantizes the kernels of a layer, its output, or both; biases stay float.

    The output is quantized behind the layer's own activation: a ReLU fused into a layer and one that is a
    layer of its own give the same.

    Args:
        weights: The quantizer of every kernel of the layer; None leaves them float.
        output: The quantizer of the output, or what rounds its gradient; None leaves both as they are.
    """

    def __init__(
        self,
        weights: WeightQuantizer | None = None,
        output: ActivationQuantizer | GradientRounding | None = None,
    ) -> None:
        self.weights = weights
        self.output = output

    def get_weights_and_quantizers(
        self, layer: keras.layers.Layer
    ) -> list[tuple[tf.Variable, WeightQuantizer]]:
        """Returns the layer's kernels with their quantizer."""
        if self.weights is None:
            return []
        return [
            (getattr(layer, kernel.attribute), self.weights) for kernel in require_kernels(layer)
        ]

    def set_quantize_weights(self, layer: keras.layers.Layer, quantize_weights: list) -> None:
        """Puts the quantized kernels in the place of the latent ones."""
        if self.weights is None:
            return
        for kernel, quantized in zip(require_kernels(layer), quantize_weights, strict=True):
            setattr(layer, kernel.attribute, quantized)

    def get_activations_and_quantizers(self, layer: keras.layers.Layer) -> list:
        """Returns nothing: the output is quantized, whatever activation made it."""
        return []

    def set_quantize_activations(
        self, layer: keras.layers.Layer, quantize_activations: list
    ) -> None:
        """Does nothing: see `get_activations_and_quantizers`."""
        del layer, quantize_activations  # AutoGraph cannot convert a body that is only a docstring.

    def get_output_quantizers(self, layer: keras.layers.Layer) -> list:
        """Returns the quantizer of the output, if there is one."""
        return [] if self.output is None else [self.output]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            name: quantizer and keras.utils.legacy.serialize_keras_object(quantizer)
            for name, quantizer in (("weights", self.weights), ("output", self.output))
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LayerQuantizeConfig":
        """Rebuilds the config, also from quantizers that are still serialised."""
        # As tfmot stores them: Keras's newer format does not find the classes again in an h5 file.
        return cls(
            **{
                name: keras.utils.legacy.deserialize_keras_object(quantizer)
                if isinstance(quantizer, dict)
                else quantizer
                for name, quantizer in config.items()
            }
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerQuantizeConfig) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((LayerQuantizeConfig, self.weights, self.output))
