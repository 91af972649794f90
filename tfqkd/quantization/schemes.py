"""tfmot `QuantizeScheme`s: what `quantize_apply` and `quantize_model` do to a layer.

Only the layers that were annotated are wrapped. Under tfmot's default 8-bit scheme, neighbouring
activations would get 8-bit quantizers that nobody asked for, and batch norm would be refused.
"""

from tfqkd.compat import keras, tfmot
from tfqkd.quantization.configs import KernelQuantizeConfig
from tfqkd.quantization.kernels import require_kernel
from tfqkd.quantization.quantizers import (
    Granularity,
    StepUpdate,
    UniformQuantizer,
    WeightQuantizer,
)


class WeightScheme(tfmot.quantization.keras.QuantizeScheme):
    """Quantizes the kernels of annotated layers with one weight quantizer.

    Args:
        quantizer: The weight quantizer of every annotated layer that has no config of its own.
    """

    def __init__(self, quantizer: WeightQuantizer) -> None:
        self.quantizer = quantizer

    def config(self, bits: int | None = None) -> KernelQuantizeConfig:
        """Returns the config of a layer, with another width if `bits` is given."""
        return KernelQuantizeConfig(
            self.quantizer if bits is None else self.quantizer.with_bits(bits)
        )

    def get_layout_transformer(self) -> "_Annotations":
        """Returns the transform that gives each annotated layer its config; the layout stays."""
        return _Annotations(self)

    def get_quantize_registry(self) -> "_NoNeighbours":
        """Returns the registry that tfmot asks about layers that nobody annotated: none is supported."""
        return _NoNeighbours()


class UniformScheme(WeightScheme):
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
    """Gives each annotated layer its config and leaves the layout alone."""

    def __init__(self, scheme: WeightScheme) -> None:
        self._scheme = scheme

    def apply(self, model: keras.Model, layer_quantize_map: dict) -> tuple[keras.Model, dict]:
        """Returns the model as it is, and the map with a config for every annotated layer."""
        configured = {}
        layers = {layer.name: layer for layer in model.layers}
        for name, settings in layer_quantize_map.items():
            layer = layers.get(name)
            # tfmot lists the inputs of annotated layers too; a Sequential model does not show its own.
            if layer is None or isinstance(layer, keras.layers.InputLayer):
                continue
            config = settings.get("quantize_config")
            if config is None:
                require_kernel(layer)
            configured[name] = {"quantize_config": config or self._scheme.config()}
        return model, configured


class _NoNeighbours(tfmot.quantization.keras.QuantizeRegistry):
    """Supports no layer: tfmot asks it only about the layers before an annotated one.

    The annotated ones have their config from `_Annotations`, and a weight scheme leaves the outputs of
    their neighbours float.
    """

    def supports(self, layer: keras.layers.Layer) -> bool:
        """Returns False: see the class."""
        return False

    def get_quantize_config(self, layer: keras.layers.Layer) -> None:
        """Returns None: see the class."""
