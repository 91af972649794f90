"""Progress of a stage: a bar in a terminal, one line in a notebook, now and then a line in a file."""

import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from tfqkd.fronts.trainer import Watcher

_SECONDS_BETWEEN_LINES = 20.0
_SECONDS_BETWEEN_DRAWINGS = 0.2
_SHOWN = ("loss", "accuracy", "agreement", "coefficient", "val_accuracy")


class Progressing(Protocol):
    """A watcher, or a callback of the front, that shows the progress of a stage."""

    def close(self) -> None:
        """Takes away what it shows; also after an error, so that its message is not drawn over."""


class MakeProgress(Protocol):
    """Makes the watcher of a stage; `ProgressBar` is one."""

    def __call__(
        self, title: str, epochs: int, steps_per_epoch: int, batch_size: int, first_epoch: int = 0
    ) -> Progressing:
        """Returns it, for a stage of `epochs` of which `first_epoch` were finished before."""


class NoProgress(Watcher):
    """Shows nothing: of several workers the chief alone speaks."""

    def __init__(
        self, title: str, epochs: int, steps_per_epoch: int, batch_size: int, first_epoch: int = 0
    ) -> None:
        pass

    def close(self) -> None:
        """Has nothing to take away."""


class ProgressBar(Watcher):
    """Shows epoch, images per second, time left and the metrics of a stage.

    Args:
        title: What the stage trains.
        epochs: Of the stage.
        steps_per_epoch: Of the stage.
        batch_size: Images in a step.
        first_epoch: Epochs that were finished before.
    """

    def __init__(
        self, title: str, epochs: int, steps_per_epoch: int, batch_size: int, first_epoch: int = 0
    ) -> None:
        self._title, self._epochs = title, epochs
        self._batch_size, self._steps = batch_size, steps_per_epoch
        self._done = first_epoch * steps_per_epoch
        self._traced, self._images = False, 0
        self._bar = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=12),
                # In a narrow terminal the title and the metrics give way, not these.
                MofNCompleteColumn(table_column=Column(min_width=13, no_wrap=True)),
                TextColumn("{task.fields[rate]}", table_column=Column(min_width=15, no_wrap=True)),
                TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True)),
                TextColumn("{task.fields[metrics]}"),
                console=Console(file=sys.stdout),
                transient=True,
            )
            if sys.stdout.isatty()
            else None
        )
        display = None if self._bar else _notebook_display()
        self._notebook = _NotebookDisplay(display) if display else None

    def on_train_begin(self) -> None:
        """Starts the bar."""
        if self._bar:
            total = self._epochs * self._steps
            self._task = self._bar.add_task(
                self._title, total=total, completed=self._done, rate="", metrics="compiling"
            )
            self._bar.start()
        self._begin = self._last_drawn = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Moves the bar to the last finished step of the epoch."""
        now = time.monotonic()
        steps = self._epoch * self._steps + batch + 1
        if self._traced:
            self._images += (steps - self._done) * self._batch_size
        else:
            # The first call also traced the graph: count from its end, or the rate would mislead.
            self._traced, self._begin = True, now
        self._done = steps
        changes = self._bar or self._notebook
        wait = _SECONDS_BETWEEN_DRAWINGS if changes else _SECONDS_BETWEEN_LINES
        if now - self._last_drawn <= wait:
            return
        self._last_drawn = now
        if self._bar:
            self._bar.update(self._task, completed=steps, rate=self._rate(), metrics=_text(logs))
        else:
            self._print_epoch(logs)

    def on_epoch_begin(self, epoch: int) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Keeps the epoch's metrics for the last line."""
        self._last_logs = logs

    def on_train_end(self) -> None:
        """Leaves one line that says how the stage ended."""
        self.close()
        self._say(
            f"{self._title}: {self._epochs} epochs{self._rate(', ')}, {_text(self._last_logs)}"
        )

    def close(self) -> None:
        """Takes the bar away; also after an error, so that its message is not drawn over."""
        if self._bar:
            self._bar.stop()

    def _rate(self, before: str = "") -> str:
        if not self._images:
            return ""
        return f"{before}{self._images / max(time.monotonic() - self._begin, 1e-9):,.0f} images/s"

    def _print_epoch(self, logs: dict[str, Any]) -> None:
        epoch = f"epoch {self._epoch + 1}/{self._epochs}"
        self._say(f"{self._title}: {epoch}{self._rate(', ')}{self._time_left()}, {_text(logs)}")

    def _say(self, text: str) -> None:
        if self._notebook:
            self._notebook.change(text)
        else:
            print(text, flush=True)

    def _time_left(self) -> str:
        if not self._images:
            return ""
        left = (self._epochs * self._steps - self._done) * self._batch_size
        seconds = left * (time.monotonic() - self._begin) / self._images
        return f", {datetime.timedelta(seconds=round(seconds))} left"


class _NotebookDisplay:
    """A line below a notebook's cell, which changes in its place.

    Args:
        display: IPython's.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None

    def change(self, text: str) -> None:
        if self._handle is None:
            self._handle = self._display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": text}, raw=True)


def _notebook_display() -> Callable[..., Any] | None:
    """IPython's `display` in a notebook; None elsewhere, also in IPython's terminal."""
    # A notebook has imported it: to look for it would load it elsewhere.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return ipython.display.display if ipython and hasattr(shell, "kernel") else None


@contextlib.contextmanager
def task_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows the progress of a task without epochs: a bar in a terminal, nothing in a file.

    Args:
        title: What is done.
        total: Items to do.

    Yields:
        A function to call with the number of items that are done.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=Column(min_width=13, no_wrap=True)),
        TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True)),
    )
    console = Console(file=sys.stdout)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stdout.isatty()
    ) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def _text(logs: dict[str, Any]) -> str:
    return " ".join(f"{name} {float(logs[name]):.3f}" for name in _SHOWN if name in logs)
