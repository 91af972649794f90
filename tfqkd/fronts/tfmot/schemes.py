"""The core's schemes as tfmot's `QuantizeScheme`: what `quantize_apply` and `quantize_model` do to a layer.

Only the layers that were annotated are wrapped and, if the scheme quantizes activations, the layers whose
outputs they read. Under tfmot's default 8-bit scheme, neighbouring activations would get 8-bit quantizers
that nobody asked for, and batch norm would be refused.
"""

from collections.abc import Mapping

from tfqkd.compat import keras, tfmot
from tfqkd.core.policy import Bits
from tfqkd.core.rounded_layers import layer_quantizers
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.configs import LayerQuantizeConfig
from tfqkd.fronts.tfmot.kernels import require_kernels
from tfqkd.fronts.tfmot.wiring import wiring


def layer_configs(
    scheme: Scheme, model: keras.Model, bits: Mapping[str, Bits]
) -> dict[str, LayerQuantizeConfig]:
    """Returns the config of every layer that must be wrapped, by name.

    Args:
        scheme: What a quantized layer gets.
        model: A Functional or built Sequential model that is part of no other one.
        bits: Bits of the layers that are to be quantized. A layer is also wrapped if one of them reads
            what it puts out.
    """
    found = layer_quantizers(scheme, bits, lambda: wiring(model))
    return {
        name: LayerQuantizeConfig(
            weights, output, None if weights is None else scheme.quantizer.gradient_bits
        )
        for name, (weights, output) in found.items()
    }


class TfmotScheme(tfmot.quantization.keras.QuantizeScheme):
    """A scheme of tfqkd as tfmot asks for it.

    Args:
        scheme: What an annotated layer gets that has no config of its own.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._neighbours = _Neighbours()

    def get_layout_transformer(self) -> "_Annotations":
        """Returns the transform that gives each annotated layer its config; the layout stays."""
        return _Annotations(self._scheme, self._neighbours)

    def get_quantize_registry(self) -> "_Neighbours":
        """Returns the registry that tfmot asks about the layers before an annotated one."""
        return self._neighbours


class _Annotations(tfmot.quantization.keras.QuantizeLayoutTransform):
    """Gives each layer to wrap its config and leaves the layout alone."""

    def __init__(self, scheme: Scheme, neighbours: "_Neighbours") -> None:
        self._scheme = scheme
        self._neighbours = neighbours

    def apply(self, model: keras.Model, layer_quantize_map: dict) -> tuple[keras.Model, dict]:
        """Returns the model as it is, and the map with a config for every layer to wrap."""
        annotated, own = {}, {}
        layers = {layer.name: layer for layer in model.layers}
        for name, settings in layer_quantize_map.items():
            layer = layers.get(name)
            # tfmot lists the inputs of annotated layers too; a Sequential model does not show its own.
            if layer is None or isinstance(layer, keras.layers.InputLayer):
                continue
            config = settings.get("quantize_config")
            if config is None:
                require_kernels(layer)
                annotated[name] = self._scheme.bits
            else:
                own[name] = config
        configs = {**layer_configs(self._scheme, model, annotated), **own}
        self._neighbours.configs = {
            name: config for name, config in configs.items() if name not in layer_quantize_map
        }
        return model, {name: {"quantize_config": config} for name, config in configs.items()}


class _Neighbours(tfmot.quantization.keras.QuantizeRegistry):
    """Knows the layers that nobody annotated but whose outputs the scheme quantizes.

    tfmot asks it about the layers before an annotated one, whatever `_Annotations` said about them.

    Attributes:
        configs: The configs of these layers by name, for the model that is being quantized.
    """

    configs: dict[str, LayerQuantizeConfig]

    def supports(self, layer: keras.layers.Layer) -> bool:
        """Returns whether the layer's output is quantized."""
        return layer.name in self.configs

    def get_quantize_config(self, layer: keras.layers.Layer) -> LayerQuantizeConfig:
        """Returns the layer's config."""
        return self.configs[layer.name]
