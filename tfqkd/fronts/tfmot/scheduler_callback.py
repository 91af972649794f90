"""The tf_keras callback that makes a `Distiller` follow a scheduler."""

from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.schedulers import Scheduler
from tfqkd.fronts.following import Following
from tfqkd.fronts.tfmot.scheduled import ScheduledVariable


class FollowScheduler(Following, keras.callbacks.Callback):
    """Assigns a scheduler's values to a variable of the distiller."""

    def _follow(self, scheduled: ScheduledVariable, values: list[float], made: int) -> None:
        # The optimizer may have been used before.
        scheduled.follow(values, first_step=int(self.model.optimizer.iterations.numpy()) - made)


def following(callbacks: Any) -> Any:
    """Returns the callbacks of a `fit`, each scheduler among them as a callback that follows it."""
    return tf.nest.map_structure(
        lambda each: FollowScheduler(each) if isinstance(each, Scheduler) else each, callbacks
    )
