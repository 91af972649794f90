"""Schemes: what a quantized layer gets. Settings, of any Keras."""

import dataclasses
import functools
import importlib
from typing import Any

from tfqkd.core.activations import ActivationQuantizer, LsqActivationQuantizer
from tfqkd.core.policy import FLOAT, Bits
from tfqkd.core.quantizer import Granularity, StepUpdate, WeightQuantizer
from tfqkd.core.quantizers import UniformQuantizer

_INTEGER_BITS = 8


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

    @property
    def others(self) -> Bits:
        """The bits of a layer that the policy leaves out: float."""
        return FLOAT

    @property
    def is_integer(self) -> bool:
        """Whether activations are quantized wherever an integer file holds them, whoever reads them."""
        return False

    def quantizer_of(self, bits: int) -> WeightQuantizer:
        """Returns the weight quantizer of a layer of these bits.

        Raises:
            ValueError: If there is none.
        """
        return self.quantizer.with_bits(bits)

    def with_quantizer(self, quantizer: WeightQuantizer) -> "Scheme":
        """Returns the scheme with another quantizer of weights."""
        return Scheme(quantizer, self.activations)

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


class DeployScheme(Scheme):
    """Integers from the image to the outputs: what "litert-w2a8" and its kind are exported from.

    Activations are rounded to 8 bits wherever an integer file holds them, each with a step of its own that is
    trained: the standardized image, what layers with kernels, additions and pooling read, and the outputs.
    Layers that the policy leaves out, by default the first and the last, get 8-bit weights. The steps start
    from data: `calibrate_activations`.

    Example:
        ```python
        quantized = tfqkd.quantize_model(model, tfqkd.DeployScheme())
        tfqkd.calibrate_activations(quantized, images)
        quantized.fit(...)
        tfqkd.export.to_litert(quantized, "student.tflite", format="litert-w2a8")
        ```

    Args:
        quantizer: The weight quantizer of the layers that the policy selects; `UniformQuantizer(2)`, ternary,
            by default. Layers of 8 bits have one step a channel, which follows the weights.
    """

    def __init__(self, quantizer: WeightQuantizer | None = None) -> None:
        activations = LsqActivationQuantizer(_INTEGER_BITS, start="largest")
        super().__init__(quantizer or UniformQuantizer(2), activations)

    @property
    def others(self) -> Bits:
        """8 bits for the weights, and for what they read."""
        return Bits(_INTEGER_BITS, _INTEGER_BITS)

    @property
    def is_integer(self) -> bool:
        """Yes."""
        return True

    def quantizer_of(self, bits: int) -> WeightQuantizer:
        """Returns the scheme's quantizer, with 8 bits one whose codes are -127 to 127."""
        if bits == _INTEGER_BITS:
            return UniformQuantizer(bits, "channel", "every_step")
        return super().quantizer_of(bits)

    def with_quantizer(self, quantizer: WeightQuantizer) -> "DeployScheme":
        """Returns the scheme with another quantizer of weights."""
        return DeployScheme(quantizer)
