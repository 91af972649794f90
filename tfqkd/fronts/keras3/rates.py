"""The learning rate of every step, and the optimizer that follows it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.core.schedules import Cosine, Step, values
from tfqkd.fronts.keras3.model import quantizer_variables
from tfqkd.fronts.settings import Fitting

_ops = keras.ops
CAPACITY = 2**17
"""Learning rates that a table holds at least: 200 epochs of CIFAR at batch 128 are 78,000."""


@keras.saving.register_keras_serializable(package="tfqkd")
class ByStep(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate for each step; the last one stays.

    Attributes:
        table: Where they are read.

    Args:
        rates: At least one.
    """

    def __init__(self, rates: Sequence[float] | np.ndarray) -> None:
        super().__init__()
        self._rates = np.asarray(rates, np.float32)
        self.table: Any = self._rates

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate at `step`, float32."""
        index = _ops.minimum(_ops.cast(step, "int32"), self.table.shape[0] - 1)
        return _ops.take(_ops.convert_to_tensor(self.table), index)

    def padded(self) -> np.ndarray:
        """Returns the rates, the last one again and again: as many for trainings of all usual lengths."""
        size = max(CAPACITY, 2 ** (len(self._rates) - 1).bit_length())
        return np.pad(self._rates, (0, size - len(self._rates)), mode="edge")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"rates": self._rates.tolist()}


def rates_of(fitting: Fitting) -> np.ndarray:
    """Returns the learning rate at each step of a training, float64.

    A cosine is half of one over all steps, `(1 + cos(π·i/n))/2`; a step falls at the milestones; a warm-up
    multiplies by `(i + 1)/w` over its w steps.
    """
    total = fitting.epochs * fitting.steps
    if fitting.rate is not None:
        factors = values(fitting.rate, total)
    elif fitting.learning_rate_schedule == "cosine":
        # One step more than there are: the last one is not at zero yet.
        factors = values(Cosine(1.0, 0.0), total + 1)[:total]
    elif fitting.learning_rate_schedule == "step" and fitting.milestones:
        factors = values(Step(1.0, fitting.milestones, fitting.learning_rate_factor), total)
    else:
        factors = [1.0] * total
    rising = round(fitting.warmup_epochs * fitting.steps)
    warm = np.minimum((np.arange(total) + 1) / max(rising, 1), 1.0) if rising else 1.0
    return fitting.learning_rate * np.asarray(factors) * warm


@keras.saving.register_keras_serializable(package="tfqkd")
class ScheduledSGD(keras.optimizers.SGD):
    """SGD whose learning rates and weight decay a compiled epoch can take as arguments.

    As constants in it they would make another program of every training that differs in them.

    Args:
        learning_rate: For each step.
        **kwargs: As for SGD.
    """

    weight_decay: Any

    def __init__(self, learning_rate: ByStep, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        self._rates = learning_rate

    def settings(self) -> dict[str, Any]:
        """Returns these arguments."""
        decay = {"decay": np.float32(self.weight_decay)} if self.weight_decay else {}
        return {"rates": self._rates.padded(), **decay}

    @contextlib.contextmanager
    def reading(self, settings: dict[str, Any]) -> Iterator[None]:
        """Lets what is traced inside read what stands for `settings()` there."""
        before: tuple[Any, Any] = (self._rates.table, self.weight_decay)
        self._rates.table, self.weight_decay = settings["rates"], settings.get("decay")
        try:
            yield
        finally:
            self._rates.table, self.weight_decay = before


def make_optimizer(
    fitting: Fitting, model: keras.Model, beside: Sequence[keras.Model] = ()
) -> ScheduledSGD:
    """Returns SGD with Nesterov momentum and decoupled weight decay of kernels (arXiv 1711.05101).

    Args:
        fitting: Gives momentum, decay and learning rate.
        model: Its trainable variables are those that will be optimised.
        beside: So are those of the networks that train along.
    """
    optimizer = ScheduledSGD(
        ByStep(rates_of(fitting)),
        weight_decay=fitting.weight_decay or None,
        momentum=fitting.momentum,
        nesterov=fitting.momentum > 0,
        use_ema=fitting.ema > 0,
        ema_momentum=fitting.ema or 0.99,
    )
    if fitting.weight_decay:
        trained = [value for each in (model, *beside) for value in each.trainable_variables]
        taken = {id(value) for value in quantizer_variables(model)}
        optimizer.exclude_from_weight_decay(
            var_list=[value for value in trained if id(value) in taken or len(value.shape) < 2]
        )
    return optimizer
