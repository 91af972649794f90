"""SQWA: stochastic quantized weight averaging, after the abstract of arXiv 2002.00343.

Notation: `q_i` are the codes of a kernel in capture i of n, `Δ` its step, which stays while captures are
taken, so that all are on one grid. Their average `w̄ = Δ·(Σ q_i)/n` has the 2n + 1 levels `k·Δ/n`; it is
quantized again, `Δ' = argmin ‖w̄ - Q(w̄; Δ')‖²`, and trained on at a low learning rate.
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from tfqkd.core.ops import NUMPY
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.fronts.settings import Fitting, Quantization
from tfqkd.fronts.view import Kernel, Variable, View
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True)
class Cycles:
    """SQWA's learning rate as a factor: at 1, then down `captures` slopes, then a cosine from low to 0.

    At step j of a slope of C steps it is `(1 - u) + u·low`, `u = (j + 1)/C`: at its last step `low`, and a
    capture is taken.

    Attributes:
        epochs: Before the first slope, of each slope, and after the last one.
        captures: The number of slopes.
        low: Where a slope ends.
        fine: Where the cosine begins.
    """

    epochs: tuple[int, int, int]
    captures: int
    low: float
    fine: float

    @property
    def captured(self) -> tuple[int, ...]:
        """The epochs, counted from 0, at whose end a capture is taken."""
        first, slope, _ = self.epochs
        return tuple(first + slope * number - 1 for number in range(1, self.captures + 1))

    def values(self, count: int) -> list[float]:
        """Returns the factor at each of `count` steps."""
        first, slope, last = self.epochs
        steps = count // (first + self.captures * slope + last)
        down = [1 + (self.low - 1) * (j + 1) / (slope * steps) for j in range(slope * steps)]
        end = last * steps
        fine = [self.fine * (1 + math.cos(math.pi * j / end)) / 2 for j in range(end)]
        return [1.0] * (first * steps) + down * self.captures + fine

    def __call__(self, progress: float) -> float:
        """Returns the factor at `progress`, of a training of a thousand steps an epoch."""
        values = self.values(1000 * sum(self.epochs, (self.captures - 1) * self.epochs[1]))
        return values[round(progress * (len(values) - 1))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sqwa(Method):
    """Captures quantized models at the ends of a cyclical learning rate, averages, quantizes, fine-tunes.

    The paper's full text was not read: number of captures, cycle and rates are options, and the defaults are
    those that worked in small runs. Weights that are not quantized are averaged too; velocities are zero
    after it, because they belong to the last capture; statistics of batch norm are measured again.

    Attributes:
        captures: n, the number of captured models, 1 to 15.
        cycle_epochs: Epochs of each slope of the learning rate, 1 or more.
        low: Where a slope of the learning rate ends, as a factor of the learning rate, in (0, 1].
        fine_tune_share: Share of the epochs that train on after averaging, in [0, 1).
        fine_tune_rate: Where the cosine after averaging begins, as a factor of the learning rate.
    """

    name: ClassVar[str] = "sqwa"
    needs: ClassVar[frozenset[str]] = frozenset({"variables", "rate"})
    excludes: ClassVar[frozenset[str]] = frozenset({"ema", "gradual"})

    captures: int = 7
    cycle_epochs: int = 3
    low: float = 0.01
    fine_tune_share: float = 1 / 6
    fine_tune_rate: float = 0.1

    def __post_init__(self) -> None:
        ranges = {
            "captures": (1 <= self.captures <= 15, "1 to 15"),
            "cycle_epochs": (self.cycle_epochs >= 1, "1 or more"),
            "low": (0 < self.low <= 1, "in (0, 1]"),
            "fine_tune_share": (0 <= self.fine_tune_share < 1, "in [0, 1)"),
            "fine_tune_rate": (0 < self.fine_tune_rate <= 1, "in (0, 1]"),
        }
        for field, (is_right, rule) in ranges.items():
            if not is_right:
                value = getattr(self, field)
                raise ValueError(f"`sqwa.{field}` must be {rule}. Received: sqwa.{field}={value}.")

    def cycles(self, epochs: int) -> Cycles:
        """Returns the learning rate of a training of so many epochs.

        Raises:
            ValueError: If there are too few epochs for the slopes.
        """
        last = round(epochs * self.fine_tune_share)
        first = epochs - self.captures * self.cycle_epochs - last
        if first < 0:
            raise ValueError(
                "`epochs` must hold all cycles and the fine-tuning. Received: "
                f"epochs={epochs} for sqwa.captures={self.captures} of sqwa.cycle_epochs="
                f"{self.cycle_epochs} and {last} to fine-tune. Train longer, or take fewer captures."
            )
        times = (first, self.cycle_epochs, last)
        return Cycles(times, self.captures, self.low, self.fine_tune_rate)

    def fitting(self, fitting: Fitting) -> Fitting:
        """Lets the learning rate follow the cycles."""
        return dataclasses.replace(fitting, rate=self.cycles(fitting.epochs))

    def quantization(self, quantization: Quantization) -> Quantization:
        """Requires captures on one grid.

        Raises:
            ValueError: If the quantizer's steps change while it trains.
        """
        quantizer = quantization.scheme.quantizer.innermost
        if not isinstance(quantizer, UniformQuantizer) or quantizer.step_update != "once":
            raise ValueError(
                "SQWA averages captures on one grid, whose step is taken once. "
                f"Received: {quantizer}. Take quantizer=uniform with step_update=once."
            )
        return quantization

    def prepare(self, view: View) -> None:
        """Adds a sum for each weight."""
        if not view.kernels:
            raise ValueError(
                "SQWA needs a student with quantized kernels that train. Received: none. "
                "Leave it out of a float stage."
            )
        for kernel in view.kernels:
            view.add(_sum_of(kernel), np.zeros_like(kernel.latent.read()))
        for variable in view.floats:
            view.add(_sum_of(variable), np.zeros_like(variable.read()))

    def epoch_end(self, view: View, epoch: int) -> None:
        """Takes a capture at the end of a slope; averages behind the last one."""
        captured = self.cycles(view.epochs).captured
        if epoch not in captured:
            return
        for kernel in view.kernels:
            total = view.own[_sum_of(kernel)]
            total.assign(total.read() + _codes(kernel))
        for variable in view.floats:
            total = view.own[_sum_of(variable)]
            total.assign(total.read() + variable.read())
        if epoch == captured[-1]:
            self._average(view)

    def _average(self, view: View) -> None:
        for kernel in view.kernels:
            step = kernel.state["step"].read()
            average = averaged(view.own[_sum_of(kernel)].read(), step, self.captures)
            kernel.latent.assign(average)
            again = kernel.quantizer.initial_state(average, kernel.channel_axes)
            kernel.state["step"].assign(again["step"])
        for variable in view.floats:
            mean = np.asarray(view.own[_sum_of(variable)].read(), np.float64) / self.captures
            variable.assign(np.asarray(mean, np.float32))
        for slot in view.slots:
            slot.assign(np.zeros_like(slot.read()))
        view.settle_batch_norm(augmented=True)


def averaged(codes: np.ndarray, step: np.ndarray, captures: int) -> np.ndarray:
    """Returns `Δ·(Σ q_i)/n`, float32.

    Args:
        codes: `Σ q_i`, whole numbers.
        step: `Δ`, of a shape that spreads over the codes.
        captures: n.
    """
    average = np.asarray(step, np.float64) * (np.asarray(codes, np.float64) / captures)
    return average.astype(np.float32)


def _codes(kernel: Kernel) -> np.ndarray:
    state = {name: variable.read() for name, variable in kernel.state.items()}
    quantized = kernel.quantizer.quantize(kernel.latent.read(), state, NUMPY)
    return np.round(np.asarray(NUMPY.divide_no_nan(quantized, state["step"]), np.float32))


def _sum_of(weight: Kernel | Variable) -> str:
    return f"sqwa/{weight.name}"
