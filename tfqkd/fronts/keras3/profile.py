"""A profile of some steps on JAX, as TensorBoard shows it."""

import pathlib
from typing import Any

from tfqkd.fronts.trainer import Watcher


class Profile(Watcher):
    """Has JAX write what it did in some calls of the step.

    Args:
        directory: Where TensorBoard looks for it.
        calls: The first and the last, counted from 1.
    """

    def __init__(self, directory: pathlib.Path, calls: tuple[int, int]) -> None:
        self._directory, (self._first, self._last) = directory, calls
        self._made, self._runs = 0, False

    def on_train_begin(self) -> None:
        """Begins it, if the first call is the first."""
        self._turn()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Begins or ends it."""
        self._made += 1
        if self._made == self._last and self._runs:
            # The device may be behind.
            float(logs["loss"])
        self._turn()

    def on_train_end(self) -> None:
        """Ends it where there were fewer calls."""
        self._made = self._last
        self._turn()

    def _turn(self) -> None:
        # JAX alone has it.
        import jax  # noqa: PLC0415

        wanted = self._first <= self._made + 1 <= self._last
        if wanted and not self._runs:
            jax.profiler.start_trace(str(self._directory))
        elif self._runs and not wanted:
            jax.profiler.stop_trace()
        self._runs = wanted
