"""The tf_keras callback that makes a `Distiller` follow a scheduler."""

from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.schedulers import Scheduler


class FollowScheduler(keras.callbacks.Callback):
    """Assigns a scheduler's values to a variable of the distiller, by epoch or by step.

    Args:
        scheduler: What to follow.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Computes the whole schedule, so that a bad value is refused before the first step."""
        self._plan = self._scheduler.plan(self.params["epochs"], self.params.get("steps"))
        self._table_set = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the epoch's value, or sets the table of the steps at the first epoch."""
        scheduled = self.model.schedule(self._scheduler.setting)
        if not self._plan.by_step:
            scheduled.value.assign(self._plan.values[epoch])
        elif not self._table_set:
            # A run that goes on at a later epoch, or an optimizer that was used before.
            made = epoch * self.params["steps"] + self._scheduler.first_step
            start = int(self.model.optimizer.iterations.numpy()) - made
            scheduled.follow(self._plan.values, first_step=start)
            self._table_set = True


def following(callbacks: Any) -> Any:
    """Returns the callbacks of a `fit`, each scheduler among them as a callback that follows it."""
    return tf.nest.map_structure(
        lambda each: FollowScheduler(each) if isinstance(each, Scheduler) else each, callbacks
    )
