"""The tfmot `QuantizeConfig`: which quantizers are put on a layer's kernels and on its output."""

from typing import Any

from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import ActivationQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.serialization import deserialized, serialized
from tfqkd.core.steps import largest_code
from tfqkd.fronts.tfmot.activations import OutputQuantizer
from tfqkd.fronts.tfmot.gradients import GradientRounding
from tfqkd.fronts.tfmot.kernels import require_kernels
from tfqkd.fronts.tfmot.quantizers import KernelQuantizer


@keras.utils.register_keras_serializable(package="tfqkd")
class LayerQuantizeConfig(tfmot.quantization.keras.QuantizeConfig):
    """Quantizes the kernels of a layer, its output, or both; biases stay float.

    The output is quantized behind the layer's own activation: a ReLU fused into a layer and one that is a
    layer of its own give the same.

    Args:
        weights: The quantizer of every kernel of the layer; None leaves them float.
        output: The quantizer of the output; None leaves it float.
        gradient_bits: Width, 2 to 8, to which the gradient of the output is rounded; None leaves it float.

    Raises:
        ValueError: If `gradient_bits` is none of these.
    """

    def __init__(
        self,
        weights: WeightQuantizer | None = None,
        output: ActivationQuantizer | None = None,
        gradient_bits: int | None = None,
    ) -> None:
        if gradient_bits is not None:
            largest_code(gradient_bits)
        self.weights = weights
        self.output = output
        self.gradient_bits = gradient_bits

    def get_weights_and_quantizers(
        self, layer: keras.layers.Layer
    ) -> list[tuple[tf.Variable, KernelQuantizer]]:
        """Returns the layer's kernels with their quantizer."""
        if self.weights is None:
            return []
        quantizer = KernelQuantizer(self.weights)
        return [(getattr(layer, kernel.attribute), quantizer) for kernel in require_kernels(layer)]

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
        """Returns what quantizes the output or rounds its gradient, if it is to be."""
        activation = None if self.output is None else OutputQuantizer(self.output)
        if self.gradient_bits is not None:
            return [GradientRounding(self.gradient_bits, activation)]
        return [] if activation is None else [activation]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, as JSON takes them."""
        return {
            "weights": self.weights and serialized(self.weights),
            "output": self.output and serialized(self.output),
            "gradient_bits": self.gradient_bits,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LayerQuantizeConfig":
        """Rebuilds the config."""
        weights, output = config["weights"], config["output"]
        return cls(
            weights and deserialized(weights),
            output and deserialized(output),
            config["gradient_bits"],
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerQuantizeConfig) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((LayerQuantizeConfig, self.weights, self.output, self.gradient_bits))
