"""Schedulers: which of a schedule's values each epoch or step of a training takes; fit follows them.

They are settings, of no Keras and without state: one may serve many trainings.
"""

import dataclasses
from typing import ClassVar, Literal

from tfqkd.core.schedules import Linear, Schedule, Step, values


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a scheduler gives one training.

    Attributes:
        values: A value for each epoch or for each step, from the first to the last.
        by_step: Whether they are for steps.
    """

    values: list[float]
    by_step: bool


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """Lets a setting of a `Distiller` follow a schedule; the classes below name the setting.

    Progress runs from 0 in the first epoch (or step) to 1 in the last one. A `Step` falls at its milestones,
    also where they are inside an epoch.

    Attributes:
        schedule: Callable from progress in [0, 1] to a value.
        on: "epoch" or "step": when the value changes.
        first_step: Steps of the first epoch that were made before a training was resumed inside it.
    """

    schedule: Schedule
    on: Literal["epoch", "step"] = "epoch"
    first_step: int = 0

    setting: ClassVar[str]
    _range: ClassVar[str]

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise TypeError(
                "`schedule` must be a callable from progress in [0, 1] to a float. Received: "
                f"{self.schedule!r}. Use tfqkd.schedules.Constant({self.schedule!r}) for a fixed value."
            )
        if self.on not in ("epoch", "step"):
            raise ValueError(f"`on` must be 'epoch' or 'step'. Received: on={self.on!r}.")

    def plan(self, epochs: int, steps: int | None) -> Plan:
        """Returns the values of a training, so that a bad one is refused before the first step.

        Args:
            epochs: Of the whole training, also if it resumes at a later one.
            steps: Of an epoch; None where that is not known.

        Raises:
            ValueError: If a value is out of range, or the steps must be known and are not.
        """
        inside = isinstance(self.schedule, Step) and self.schedule.falls_within(epochs)
        by_step = self.on == "step" or inside
        if by_step and not steps:
            raise ValueError(
                "A schedule by step, or with milestones inside an epoch, needs the number of steps of an "
                "epoch. Received: a data set of unknown length. Pass `steps_per_epoch` to fit."
            )
        planned = values(self.schedule, epochs * (steps or 1) if by_step else epochs)
        for value in planned:
            if not self._allows(value):
                raise ValueError(
                    f"The {self.setting} must be {self._range} throughout training. "
                    f"Received: {value} from {self.schedule}."
                )
        return Plan(planned, by_step)

    def set_model(self, model: object) -> None:
        """Refuses: Keras calls it on its own callbacks, and a `Distiller` hands it none of these.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"{type(self).__name__} needs a tfqkd.Distiller, whose `fit` follows it. "
            f"Received: {type(model)}. Pass it to the `fit` of a Distiller."
        )

    def _allows(self, value: float) -> bool:
        raise NotImplementedError


class CoefficientScheduler(Scheduler):
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
        first_step: Steps of the first epoch that were made before a training was resumed inside it.

    Raises:
        TypeError: If the schedule is not callable; at the start of `fit` if the model is not a `Distiller`.
        ValueError: If `on` is unknown; at the start of `fit` if a value is out of range.
    """

    setting, _range = "coefficient", "in [0, 1]"

    def _allows(self, value: float) -> bool:
        return 0 <= value <= 1


class TemperatureScheduler(Scheduler):
    """Sets the temperature of a `Distiller` during `fit`.

    Args:
        schedule: Callable from progress in [0, 1] to a finite temperature above 0.
        on: "epoch" (default) or "step", as for `CoefficientScheduler`.
        first_step: As for `CoefficientScheduler`.

    Raises:
        TypeError: If the schedule is not callable; at the start of `fit` if the model is not a `Distiller`.
        ValueError: If `on` is unknown; at the start of `fit` if a value is out of range.
    """

    setting, _range = "temperature", "above 0 and finite"

    def _allows(self, value: float) -> bool:
        return 0 < value < float("inf")


class TermScheduler(Scheduler):
    """Sets the weight of a term of a `Distiller` at the start of every epoch.

    Args:
        name: Of the term.
        weight: What the schedule multiplies.
        schedule: Callable from progress in [0, 1] to a factor, 0 or more and finite.
    """

    _range = "0 or more, and finite"

    def __init__(self, name: str, weight: float, schedule: Schedule) -> None:
        super().__init__(lambda progress: weight * schedule(progress))
        object.__setattr__(self, "setting", f"{name}_weight")

    def _allows(self, value: float) -> bool:
        return 0 <= value < float("inf")


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
