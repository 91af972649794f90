"""A training that makes its steps when it is told to."""

import queue
import threading
from collections.abc import Callable
from typing import Any


class Turns:
    """Runs a training in a thread of its own, and holds it between two steps until its next turn.

    What a turn takes is all that a training does from one step to the next: Keras' loop, the batches, the
    callbacks. `turns` makes it a callback of a Keras.

    Args:
        train: Calls `fit` with this callback.
    """

    def __init__(self, train: Callable[[Any], None]) -> None:
        super().__init__()
        self._supports_tf_logs = True
        self._go: queue.Queue[int] = queue.Queue()
        self._ended: queue.Queue[BaseException | None] = queue.Queue()
        self._left = 0
        threading.Thread(target=self._run, args=(train,), daemon=True).start()
        self._wait()

    def run(self, steps: int) -> None:
        """Makes at least so many steps, and returns when the device has made them.

        Raises:
            RuntimeError: If the training has ended.
        """
        self._go.put(steps)
        self._wait()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Waits for the next turn where one is over."""
        self._first = batch
        if self._left <= 0:
            self._ended.put(None)
            self._left = self._go.get()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps of the call; the last ones of a turn are waited for."""
        self._left -= batch + 1 - self._first
        if self._left <= 0:
            float((logs or {})["loss"])

    def _run(self, train: Callable[[Any], None]) -> None:
        try:
            train(self)
            self._ended.put(RuntimeError("The training is over."))
        except BaseException as error:
            self._ended.put(error)

    def _wait(self) -> None:
        error = self._ended.get()
        if error is not None:
            raise RuntimeError(
                f"A training must go on as long as it is asked to: {error}"
            ) from error


def turns(keras: Any, train: Callable[[Any], None]) -> Turns:
    """Returns `Turns(train)` as a callback of tf_keras or Keras 3."""
    return type("TurnsCallback", (Turns, keras.callbacks.Callback), {})(train)
