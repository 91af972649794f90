"""Callbacks that drive the coefficient and the temperature of a `Distiller`."""

from typing import Any, Literal

from tfqkd.compat import keras
from tfqkd.distillation.distiller import Distiller
from tfqkd.distillation.schedules import Linear, Schedule, Step, values


class _Scheduler(keras.callbacks.Callback):
    """Assigns a schedule's value to a variable of the distiller, by epoch or by step.

    Progress runs from 0 in the first epoch (or step) to 1 in the last one. A `Step` falls at its milestones,
    also where they lie inside an epoch.
    """

    _name: str
    _range: str

    def __init__(
        self, schedule: Schedule, on: Literal["epoch", "step"] = "epoch", first_step: int = 0
    ) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a callable from progress in [0, 1] to a float. "
                f"Received: {schedule!r}. Use tfqkd.schedules.Constant({schedule!r}) for a fixed value."
            )
        if on not in ("epoch", "step"):
            raise ValueError(f"`on` must be 'epoch' or 'step'. Received: on={on!r}.")
        self.schedule = schedule
        self.on = on
        self._first_step = first_step

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Computes the whole schedule, so that a bad value is refused before the first step."""
        if not isinstance(self.model, Distiller):
            raise TypeError(
                f"{type(self).__name__} needs a tfqkd.Distiller. Received: {type(self.model)}."
            )
        epochs, steps = self.params["epochs"], self.params.get("steps")
        inside = isinstance(self.schedule, Step) and self.schedule.falls_within(epochs)
        self._by_step = self.on == "step" or inside
        if self._by_step and not steps:
            raise ValueError(
                "A schedule by step, or with milestones inside an epoch, needs the number of steps of an "
                "epoch. Received: a data set of unknown length. Pass `steps_per_epoch` to fit."
            )
        self._values = values(self.schedule, epochs * steps if self._by_step else epochs)
        for value in self._values:
            if not self._allows(value):
                raise ValueError(
                    f"The {self._name} must be {self._range} throughout training. "
                    f"Received: {value} from {self.schedule}."
                )
        self._table_set = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the epoch's value, or sets the table of the steps at the first epoch."""
        scheduled = self.model.schedule(self._name)
        if not self._by_step:
            scheduled.value.assign(self._values[epoch])
        elif not self._table_set:
            # A run that goes on at a later epoch, or an optimizer that was used before.
            made = epoch * self.params["steps"] + self._first_step
            start = int(self.model.optimizer.iterations.numpy()) - made
            scheduled.follow(self._values, first_step=start)
            self._table_set = True

    def _allows(self, value: float) -> bool:
        raise NotImplementedError


class CoefficientScheduler(_Scheduler):
    """Sets the coefficient λ of a `Distiller`'s soft loss during `fit`.

    Example:
        ```python
        distiller.fit(train, epochs=10, callbacks=[
            tfqkd.CoefficientScheduler(tfqkd.schedules.Cosine(1.0, 0.0), on="step")])
        ```

    Args:
        schedule: Callable from progress in [0, 1] to λ in [0, 1] (`tfqkd.schedules`).
        on: "epoch" (default): once an epoch; a `Step` falls at its milestones, inside an epoch too. "step":
            at every step, also under `steps_per_execution`.
        first_step: Steps of the first epoch that were made before, where a training goes on inside it.

    Raises:
        TypeError: If the schedule is not callable, or the model is not a `Distiller`.
        ValueError: If a value is out of range or `on` is unknown; at the start of `fit`.
    """

    _name, _range = "coefficient", "in [0, 1]"

    def _allows(self, value: float) -> bool:
        return 0 <= value <= 1


class TemperatureScheduler(_Scheduler):
    """Sets the temperature of a `Distiller` during `fit`.

    Args:
        schedule: Callable from progress in [0, 1] to a finite temperature above 0.
        on: "epoch" (default) or "step", as for `CoefficientScheduler`.
        first_step: As for `CoefficientScheduler`.

    Raises:
        TypeError: If the schedule is not callable, or the model is not a `Distiller`.
        ValueError: If a value is out of range or `on` is unknown; at the start of `fit`.
    """

    _name, _range = "temperature", "above 0 and finite"

    def _allows(self, value: float) -> bool:
        return 0 < value < float("inf")


class GradualSoftLossReducing(CoefficientScheduler):
    """Gradual soft loss reducing, GSLR (arXiv 1909.01688): the soft loss fades out during training.

    The paper says that the coefficient is reduced gradually; we take it to fall on a straight line, epoch by
    epoch, from `start` in the first epoch to 0 in the last, in which the student sees the labels alone. Other
    shapes: `CoefficientScheduler` with any schedule.

    Args:
        start: λ of the first epoch, in [0, 1].
    """

    def __init__(self, start: float = 1.0) -> None:
        super().__init__(Linear(start, 0.0), on="epoch")
