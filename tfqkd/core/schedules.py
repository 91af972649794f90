"""Schedules: pure functions of the progress of training, a float from 0 (first) to 1 (last).

Any callable from progress to a float is a schedule; the classes here are the common ones, and `settings` of
them can be written as JSON. A scheduler (`schedulers.py`) tells a training which of their `values` to take.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Schedule = Callable[[float], float]


@dataclasses.dataclass(frozen=True)
class Constant:
    """Always `value`."""

    value: float

    def __call__(self, progress: float) -> float:
        """Returns the value at `progress`."""
        return self.value


@dataclasses.dataclass(frozen=True)
class Linear:
    """From `start` to `end` on a straight line: `start + (end - start)·p`."""

    start: float
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        """Returns the value at `progress`."""
        return self.start + (self.end - self.start) * progress


@dataclasses.dataclass(frozen=True)
class Cosine:
    """From `start` to `end` on half a cosine: `end + (start - end)·(1 + cos πp)/2` (arXiv 1608.03983)."""

    start: float
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        """Returns the value at `progress`."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclasses.dataclass(frozen=True)
class Exponential:
    """From `start` to `end` by a constant factor: `start·(end/start)^p`; both must be positive."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if self.start <= 0 or self.end <= 0:
            raise ValueError(
                "An exponential schedule must start and end above zero. "
                f"Received: start={self.start}, end={self.end}. Use Linear or Cosine to reach zero."
            )

    def __call__(self, progress: float) -> float:
        """Returns the value at `progress`."""
        return self.start * (self.end / self.start) ** progress


@dataclasses.dataclass(frozen=True)
class Step:
    """`start`, multiplied by `factor` at every milestone that the training has reached.

    In a training it falls at the very steps that `first_behind` names, as the learning rate of a recipe does.

    Attributes:
        start: Value before the first milestone.
        milestones: Shares of the training in (0, 1), rising; those of the learning rate, say.
        factor: What each milestone multiplies by.
    """

    start: float
    milestones: Sequence[float]
    factor: float = 0.1

    def __post_init__(self) -> None:
        # A list of JSON makes the same schedule as the tuple that it was.
        object.__setattr__(self, "milestones", tuple(self.milestones))
        rising = list(self.milestones) == sorted(set(self.milestones))
        if not rising or not all(0 < milestone < 1 for milestone in self.milestones):
            raise ValueError(
                "`milestones` must rise within (0, 1), as shares of the training. "
                f"Received: milestones={self.milestones}."
            )

    def __call__(self, progress: float) -> float:
        """Returns the value at `progress`."""
        # A milestone at 1/2 of 10 epochs is reached at epoch 5 in spite of rounding.
        return self._behind(sum(progress >= milestone - 1e-9 for milestone in self.milestones))

    def values(self, count: int) -> list[float]:
        """Returns the value at each of `count` steps or epochs."""
        firsts = [first_behind(milestone, count) for milestone in self.milestones]
        return [self._behind(sum(index >= first for first in firsts)) for index in range(count)]

    def falls_within(self, epochs: int) -> bool:
        """Returns whether a milestone is inside one of so many epochs, rather than between two."""
        reached = [milestone * epochs for milestone in self.milestones]
        return any(abs(epoch - round(epoch)) > 1e-9 for epoch in reached)

    def _behind(self, passed: int) -> float:
        return self.start * self.factor**passed


KINDS: dict[str, type] = {
    kind.__name__: kind for kind in (Constant, Linear, Cosine, Exponential, Step)
}
"""The schedules that have settings, by the name that `settings` gives them."""


def settings(schedule: Schedule) -> dict[str, Any]:
    """Returns a schedule's name and what it was made of, as JSON holds them; `from_settings` reads it.

    Raises:
        TypeError: If it is a function or a class of the user's own, whose code no settings hold.
    """
    name = type(schedule).__name__
    if KINDS.get(name) is not type(schedule):
        raise TypeError(
            f"Only the schedules {', '.join(KINDS)} have settings. Received: {schedule!r}. "
            "Keep the code of a schedule of your own beside its results."
        )
    return {"name": name, **dataclasses.asdict(schedule)}  # type: ignore[call-overload]


def from_settings(made_of: Mapping[str, Any]) -> Schedule:
    """Returns the schedule that `settings` described.

    Raises:
        ValueError: If it names no schedule, or settings that the schedule does not have.
    """
    given = dict(made_of)
    kind = KINDS.get(given.pop("name", ""))
    if kind is None:
        raise ValueError(
            f"Settings must name one of the schedules {', '.join(KINDS)}. Received: {dict(made_of)}."
        )
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(
            f"Settings of {kind.__name__} must be its arguments. Received: {dict(made_of)}: {error}."
        ) from None


def values(schedule: Schedule, count: int) -> list[float]:
    """Returns a schedule's value at each of `count` steps or epochs, whose progress runs from 0 to 1.

    A schedule with a method `values` of its own, such as `Step`, is asked for them.
    """
    if hasattr(schedule, "values"):
        return schedule.values(count)
    return [float(schedule(index / max(count - 1, 1))) for index in range(count)]


def first_behind(milestone: float, count: int) -> int:
    """Returns the index of the first of `count` steps or epochs behind a milestone: the nearest to it.

    Args:
        milestone: A share of the training, in (0, 1).
        count: Steps or epochs of the training.
    """
    return round(milestone * count)
