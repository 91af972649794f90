"""Formats that are tried while a run's first epoch is trained, which nothing is kept of if they fail."""

import contextlib
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tfqkd.export.format_trial import FormatTrial, try_formats
from tfqkd.fronts.trainer import Watcher
from tfqkd.process.interruption import requested

_SECONDS_BETWEEN_LOOKS = 0.1


class FormatTrialWatcher(Watcher):
    """The trial of a run's formats on its untrained student, a watcher of all its stages.

    Training does not wait for it before the end of the first epoch: what is tried in another process takes
    longer than the first steps. A run whose formats fail ends there, and what it had begun is deleted.
    """

    def __init__(self) -> None:
        self._trial: FormatTrial | None = None
        self._then: Callable[[], None] = lambda: None
        self._refused = False

    def __enter__(self) -> "FormatTrialWatcher":
        return self

    def __exit__(self, *error: object) -> None:
        if self._trial:
            self._trial.close()

    def begin(self, student: Any, formats: Sequence[str], *given: Any, **options: int) -> None:
        """Tries formats; see `tfqkd.export.format_trial.try_formats`."""
        self._trial = try_formats(student, formats, *given, **options)

    def then(self, call: Callable[[], None]) -> None:
        """Calls a function once the formats are known to be good."""
        self._then = call
        if self._trial is None:
            call()

    def require(self) -> None:
        """Waits for the trial to end.

        Raises:
            ExportError: If a format cannot hold the student.
            ValueError: If the student cannot be exported.
        """
        if self._trial is None:
            return
        self._refused = True
        self._trial.require()
        self._refused = False
        self._trial.close()
        self._trial = None
        self._then()

    @contextlib.contextmanager
    def undone(self, product: pathlib.Path) -> Iterator[None]:
        """Deletes what is in a directory after the block, if that began it and the formats have failed."""
        was_begun = any(product.iterdir())
        try:
            yield
        except Exception:
            if self._refused and not was_begun:
                shutil.rmtree(product)
            raise

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Looks whether the trial has ended."""
        if self._trial and self._trial.wait(0):
            self.require()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Waits for the trial to end; a run that is asked to stop does not."""
        while self._trial and requested() is None:
            if self._trial.wait(_SECONDS_BETWEEN_LOOKS):
                self.require()
