"""The Keras 3 callback that makes a `Distiller` follow a scheduler."""

from typing import Any

import keras

from tfqkd.core.schedulers import Scheduler


class FollowScheduler(keras.callbacks.Callback):
    """Makes a setting of the distiller follow a scheduler, by epoch or by step.

    Args:
        scheduler: What to follow.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Computes the whole schedule, so that a bad value is refused before the first step."""
        self._plan = self._scheduler.plan(self.params["epochs"], self.params.get("steps"))
        self._following = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the epoch's value, or sets the table of the steps at the first epoch."""
        scheduled = self.model.schedule(self._scheduler.setting)
        if not self._plan.by_step:
            scheduled.value.assign(self._plan.values[epoch])
        elif not self._following:
            # A run may go on at a later epoch.
            place = epoch * self.params["steps"] + self._scheduler.first_step
            if scheduled.follow(self._plan.values, place):
                self.model.make_train_function(force=True)
            self._following = True


def following(callbacks: Any) -> Any:
    """Returns the callbacks of a `fit`, each scheduler among them as a callback that follows it."""
    if isinstance(callbacks, Scheduler):
        return [FollowScheduler(callbacks)]
    if not isinstance(callbacks, (list, tuple)):
        return callbacks
    return [FollowScheduler(each) if isinstance(each, Scheduler) else each for each in callbacks]
