"""The tfmot `QuantizeConfig`: which weights of a layer a quantizer is put on."""

from typing import Any

from tfqkd.compat import keras, tf, tfmot
from tfqkd.quantization.kernels import require_kernel
from tfqkd.quantization.quantizers import WeightQuantizer


@keras.utils.register_keras_serializable(package="tfqkd")
class KernelQuantizeConfig(tfmot.quantization.keras.QuantizeConfig):
    """Quantizes the kernel of a layer; biases, activations and outputs stay float.

    Args:
        quantizer: The weight quantizer.
    """

    def __init__(self, quantizer: WeightQuantizer) -> None:
        self.quantizer = quantizer

    def get_weights_and_quantizers(
        self, layer: keras.layers.Layer
    ) -> list[tuple[tf.Variable, WeightQuantizer]]:
        """Returns the layer's kernel with its quantizer."""
        return [(getattr(layer, require_kernel(layer).attribute), self.quantizer)]

    def set_quantize_weights(self, layer: keras.layers.Layer, quantize_weights: list) -> None:
        """Puts the quantized kernel in the place of the latent one."""
        (quantized,) = quantize_weights
        setattr(layer, require_kernel(layer).attribute, quantized)

    def get_activations_and_quantizers(self, layer: keras.layers.Layer) -> list:
        """Returns nothing: activations stay float, as in the paper."""
        return []

    def set_quantize_activations(
        self, layer: keras.layers.Layer, quantize_activations: list
    ) -> None:
        """Does nothing: activations stay float."""
        del layer, quantize_activations  # AutoGraph cannot convert a body that is only a docstring.

    def get_output_quantizers(self, layer: keras.layers.Layer) -> list:
        """Returns nothing: outputs stay float."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"quantizer": keras.utils.legacy.serialize_keras_object(self.quantizer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KernelQuantizeConfig":
        """Rebuilds the config, also from a quantizer that is still serialised."""
        quantizer = config["quantizer"]
        if isinstance(quantizer, dict):
            # As tfmot stores it: Keras's newer format does not find the class again in an h5 file.
            quantizer = keras.utils.legacy.deserialize_keras_object(quantizer)
        return cls(quantizer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelQuantizeConfig) and self.quantizer == other.quantizer

    def __hash__(self) -> int:
        return hash((KernelQuantizeConfig, self.quantizer))
