"""Schemes: what a quantized layer gets. Settings, of any Keras."""

import dataclasses
import functools
import importlib
from typing import Any

from tfqkd.core.activations import ActivationQuantizer
from tfqkd.core.policy import Bits
from tfqkd.core.quantizer import Granularity, StepUpdate, WeightQuantizer
from tfqkd.core.quantizers import UniformQuantizer


@dataclasses.dataclass(frozen=True)
class Scheme:
    """Quantizes the kernels of layers, and on request the activations that these layers read.

    tfmot's `quantize_apply` takes it as a `QuantizeScheme`.

    Example:
        ```python
        scheme = Scheme(LsqQuantizer(4), LsqActivationQuantizer(4))
        quantized = tfqkd.quantize_model(model, scheme)
        tfqkd.calibrate_activations(quantized, images)
        ```

    Args:
        quantizer: The weight quantizer of every layer that has no config of its own.
        activations: The quantizer of the activations; its `signed` is set where it stands. None (default)
            leaves activations float, as in the paper.
    """

    quantizer: WeightQuantizer
    activations: ActivationQuantizer | None = None

    @property
    def bits(self) -> Bits:
        """The bits of a layer that has none of its own."""
        activations = None if self.activations is None else self.activations.bits
        return Bits(self.quantizer.bits, activations)

    def get_layout_transformer(self) -> Any:
        """Returns the tfmot front's: what tfmot asks a `QuantizeScheme` for."""
        return self._of_tfmot.get_layout_transformer()

    def get_quantize_registry(self) -> Any:
        """Returns the tfmot front's: what tfmot asks a `QuantizeScheme` for."""
        return self._of_tfmot.get_quantize_registry()

    @functools.cached_property
    def _of_tfmot(self) -> Any:
        """The adapter, which nothing else here needs: it is imported when tfmot calls."""
        return importlib.import_module("tfqkd.fronts.tfmot.schemes").TfmotScheme(self)


class UniformScheme(Scheme):
    """The paper's uniform symmetric quantizer on every layer (see `UniformQuantizer`).

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
