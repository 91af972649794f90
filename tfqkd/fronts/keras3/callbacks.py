"""The Keras 3 callbacks of a `Distiller`: one follows a scheduler, one looks at the first step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfqkd.core.schedulers import Scheduler
from tfqkd.fronts.following import Following
from tfqkd.fronts.keras3.replicas import AverageReplicas
from tfqkd.fronts.keras3.scheduled import Schedule


class FollowScheduler(Following, keras.callbacks.Callback):
    """Assigns a scheduler's values to a variable of the distiller."""

    def _follow(self, scheduled: Schedule, values: list[float], made: int) -> None:
        if scheduled.follow(values, made):
            self.model.make_train_function(force=True)


class LookOnce(keras.callbacks.Callback):
    """Looks at what the first step of a training left.

    Args:
        look: Raises if something is wrong.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._look = look

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins anew."""
        self._looked = False

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks, once."""
        if not self._looked:
            self._looked = True
            self._look()


def followed(callbacks: Any, look: Callable[[], None], networks: Sequence[keras.Model]) -> Any:
    """Returns the callbacks of a `fit`: schedulers as callbacks, and those that every `fit` has around them.

    Args:
        callbacks: As `keras.Model.fit` takes them, schedulers among them.
        look: For `LookOnce`.
        networks: All that is trained.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    given = keras.tree.flatten(callbacks)
    made = [FollowScheduler(each) if isinstance(each, Scheduler) else each for each in given]
    return [AverageReplicas(networks), *(each for each in made if each is not None), LookOnce(look)]
