"""Pruning: the smallest weights of each kernel become zero, and stay so (arXiv 1710.01878).

At progress t between begin t₀ and end t₁ the sparsity is
`s(t) = s_f + (s_i - s_f)·(1 - (t - t₀)/(t₁ - t₀))³`.
"""

import dataclasses
from typing import ClassVar

from tfqkd.core.pruned import PrunedQuantizer
from tfqkd.fronts.settings import Fitting, Quantization
from tfqkd.fronts.view import View
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pruning(Method):
    """Holds the smallest weights of each quantized kernel, or inner float one, at exactly zero.

    The mask moves between epochs and only grows; training, averages, quantization and files keep its zeros
    (`tfqkd.core.pruned.PrunedQuantizer`). It is taken for each layer by itself, and for no depthwise kernel;
    the first and the last layer stay whole as they stay float. A step that is taken once is taken again with
    the mask.

    Zeros buy a smaller download, after compression, and no milliseconds: see docs/methods.md. In ternary
    weights take the mask at once, from the float ones (`end=0`): latent weights fight it.

    Attributes:
        sparsity: s_f, the share of zeros at the end, in [0, 1).
        first: s_i, that at the beginning, up to `sparsity`.
        begin: t₀, share of the epochs before it rises, in [0, 1).
        end: t₁, share of the epochs after which it stays, in [0, 1); 0 takes the whole mask at once.
    """

    name: ClassVar[str] = "pruning"
    needs: ClassVar[frozenset[str]] = frozenset({"variables"})
    excludes: ClassVar[frozenset[str]] = frozenset({"gradual"})

    sparsity: float = 0.5
    first: float = 0.0
    begin: float = 0.0
    end: float = 0.5

    def __post_init__(self) -> None:
        ranges = {
            "sparsity": (0 <= self.sparsity < 1, "in [0, 1)"),
            "first": (0 <= self.first <= self.sparsity, "from 0 to pruning.sparsity"),
            "end": (0 <= self.end < 1, "in [0, 1)"),
            "begin": (0 <= self.begin <= self.end, "from 0 to pruning.end"),
        }
        for field, (is_right, rule) in ranges.items():
            if not is_right:
                value = getattr(self, field)
                raise ValueError(
                    f"`pruning.{field}` must be {rule}. Received: pruning.{field}={value}."
                )

    def sparsity_at(self, progress: float) -> float:
        """Returns `s(t)` at a progress in [0, 1]."""
        if progress >= self.end:
            return self.sparsity
        if progress <= self.begin:
            return self.first
        left = 1 - (progress - self.begin) / (self.end - self.begin)
        return self.sparsity + (self.first - self.sparsity) * left**3

    def fitting(self, fitting: Fitting) -> Fitting:
        """Requires an epoch after the mask is whole.

        Raises:
            ValueError: If there is none.
        """
        if self.end * fitting.epochs > max(fitting.epochs - 1, 0):
            raise ValueError(
                "`pruning.end` must leave an epoch to train with the whole mask. Received: "
                f"pruning.end={self.end} of {fitting.epochs} epochs. Train longer, or end earlier."
            )
        return fitting

    def quantization(self, quantization: Quantization) -> Quantization:
        """Puts the mask around the scheme's quantizer."""
        scheme = quantization.scheme
        pruned = PrunedQuantizer(scheme.quantizer, self.sparsity_at(0.0))
        return dataclasses.replace(quantization, scheme=scheme.with_quantizer(pruned))

    def epoch_end(self, view: View, epoch: int) -> None:
        """Raises the sparsity, if there is training left."""
        if epoch + 1 == view.epochs:
            return
        sparsity = self.sparsity_at((epoch + 1) / view.epochs)
        for kernel in view.kernels:
            if isinstance(kernel.quantizer, PrunedQuantizer):
                state = {name: variable.read() for name, variable in kernel.state.items()}
                changes = kernel.quantizer.at_sparsity(
                    sparsity, kernel.latent.read(), state, kernel.channel_axes
                )
                for name, value in changes.items():
                    kernel.state[name].assign(value)
