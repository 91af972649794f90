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
    """Looks at what the first step of a training left, before the second one; `fit` looks at the end.

    At the end of the step it would have Keras wait for each step's logs, on JAX and PyTorch.

    Args:
        look: Raises if something is wrong.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._look = look

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts over."""
        self._begun = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks, once."""
        self._begun += 1
        if self._begun == 2:
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
