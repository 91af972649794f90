"""tfmot `QuantizeScheme`s: what `quantize_apply` and `quantize_model` do to a layer.

Only the layers that were annotated are wrapped and, if the scheme quantizes activations, the layers whose
outputs they read. Under tfmot's default 8-bit scheme, neighbouring activations would get 8-bit quantizers
that nobody asked for, and batch norm would be refused.
"""

from collections.abc import Mapping

from tfqkd.compat import keras, tfmot
from tfqkd.quantization.activations import ActivationQuantizer
from tfqkd.quantization.configs import LayerQuantizeConfig
from tfqkd.quantization.gradients import GradientRounding
from tfqkd.quantization.kernels import require_kernels
from tfqkd.quantization.policy import Bits
from tfqkd.quantization.quantizers import (
    Granularity,
    StepUpdate,
    UniformQuantizer,
    WeightQuantizer,
)
from tfqkd.quantization.sites import Site, activation_sites


class Scheme(tfmot.quantization.keras.QuantizeScheme):
    """Quantizes the kernels of annotated layers, and on request the activations that these layers read.

    Example:
        ```python
        scheme = Scheme(LsqQuantizer(4), LsqActivationQuantizer(4))
        quantized = tfqkd.quantize_model(model, scheme)
        calibrate_activations(quantized, images)
        ```

    Args:
        quantizer: The weight quantizer of every annotated layer that has no config of its own.
        activations: The quantizer of the activations; its `signed` is set where it stands
            (`sites.activation_sites`). None (default) leaves activations float, as in the paper.
    """

    def __init__(
        self, quantizer: WeightQuantizer, activations: ActivationQuantizer | None = None
    ) -> None:
        self.quantizer = quantizer
        self.activations = activations
        self._neighbours = _Neighbours()

    @property
    def bits(self) -> Bits:
        """The bits of a layer that has none of its own."""
        return Bits(self.quantizer.bits, self.activations and self.activations.bits)

    def configs(
        self, model: keras.Model, bits: Mapping[str, Bits]
    ) -> dict[str, LayerQuantizeConfig]:
        """Returns the config of every layer that must be wrapped, by name.

        Args:
            model: A Functional or built Sequential model that is part of no other one.
            bits: Bits of the layers that are to be quantized. A layer is also wrapped if one of them reads
                what it puts out.
        """
        readers = {name: b.activations for name, b in bits.items() if b.activations is not None}
        sites = activation_sites(model, readers) if self.activations else {}
        weights = {name: b.weights for name, b in bits.items() if b.weights is not None}
        return {
            layer.name: LayerQuantizeConfig(
                self._weights(weights.get(layer.name)),
                self._output(sites.get(layer.name), layer.name in weights),
            )
            for layer in model.layers
            if layer.name in weights or layer.name in sites
        }

    def get_layout_transformer(self) -> "_Annotations":
        """Returns the transform that gives each annotated layer its config; the layout stays."""
        return _Annotations(self, self._neighbours)

    def get_quantize_registry(self) -> "_Neighbours":
        """Returns the registry that tfmot asks about the layers before an annotated one."""
        return self._neighbours

    def _weights(self, bits: int | None) -> WeightQuantizer | None:
        if bits is None:
            return None
        return self.quantizer.with_bits(bits)

    def _output(
        self, site: Site | None, has_weights: bool
    ) -> ActivationQuantizer | GradientRounding | None:
        activation = None
        if site is not None and self.activations is not None:
            activation = self.activations.with_bits(site.bits, site.signed)
        bits = self.quantizer.gradient_bits
        return GradientRounding(bits, activation) if bits and has_weights else activation


class UniformScheme(Scheme):
    """The paper's uniform symmetric quantizer on every annotated layer (see `UniformQuantizer`).

    Example:
        ```python
        quantized = tfqkd.quantize_model(model, tfqkd.UniformScheme(bits=4, granularity="channel"))
        ```

    Args:
        bits: 2 (ternary) to 8.
        granularity: "tensor" (default) or "channel".
        step_update: "once" (default) or "every_step".
    """

    def __init__(
        self,
        bits: int,
        granularity: Granularity = "tensor",
        step_update: StepUpdate = "once",
    ) -> None:
        super().__init__(UniformQuantizer(bits, granularity, step_update))


class TernaryScheme(UniformScheme):
    """Ternary weights, -Δ, 0 and Δ: `UniformScheme(bits=2)`, the scheme of the paper."""

    def __init__(
        self, granularity: Granularity = "tensor", step_update: StepUpdate = "once"
    ) -> None:
        super().__init__(2, granularity, step_update)


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
        configs = {**self._scheme.configs(model, annotated), **own}
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
