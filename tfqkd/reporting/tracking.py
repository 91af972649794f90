"""Trackers: what each epoch of a stage logs also goes to MLflow or to Weights & Biases."""

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, Protocol

from tfqkd.fronts.trainer import Watcher
from tfqkd.progress import MakeProgress, ProgressBar


class Tracker(Protocol):
    """Where the figures of a stage go."""

    def __init__(self, group: str, title: str) -> None:
        """Begins: `group` has the stages of a run, `title` is one of them."""

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Takes the figures of an epoch, counted from 1."""

    def close(self) -> None:
        """Ends."""


class _Mlflow:
    """A run of MLflow; where it is kept say MLflow's own settings, such as MLFLOW_TRACKING_URI."""

    def __init__(self, group: str, title: str) -> None:
        self._mlflow = importlib.import_module("mlflow")
        self._mlflow.set_experiment(group)
        self._mlflow.start_run(run_name=title)

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(figures), step=epoch)

    def close(self) -> None:
        self._mlflow.end_run()


class _Wandb:
    """A run of Weights & Biases; WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, group: str, title: str) -> None:
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(project="tfqkd", group=group, name=title)

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=epoch)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {"mlflow": _Mlflow, "wandb": _Wandb}
"""By the module that each imports."""
_PACKAGES = {"mlflow": "mlflow-skinny"}
"""What is installed for a module of another name; all of mlflow asks for older packages than tfqkd does."""


def tracked(name: str, group: str, shown: MakeProgress = ProgressBar) -> MakeProgress:
    """Returns a progress for `tfqkd.run` that also tells a tracker what each epoch logs.

    Example:
        ```python
        tfqkd.run(recipe, "runs/first", progress=tracked("mlflow", "first"))
        ```

    Args:
        name: One of `TRACKERS`.
        group: What the stages of this run go under.
        shown: Makes what is shown on the terminal.

    Raises:
        ImportError: If the tracker's package is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise ImportError(
            f"The package of a tracker must be installed. Received: {name}, which is not. "
            f"Install it with: pip install {_PACKAGES.get(name, name)}"
        )

    def make(
        title: str, epochs: int, steps_per_epoch: int, batch_size: int, first_epoch: int = 0
    ) -> _Tracked:
        bar = shown(title, epochs, steps_per_epoch, batch_size, first_epoch)
        return _Tracked(bar, TRACKERS[name](group, title))

    return make


class _Tracked(Watcher):
    def __init__(self, shown: Any, tracker: Tracker) -> None:
        self._shown, self._tracker = shown, tracker

    def on_train_begin(self) -> None:
        self._shown.on_train_begin()

    def on_epoch_begin(self, epoch: int) -> None:
        self._shown.on_epoch_begin(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        self._shown.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self._shown.on_epoch_end(epoch, logs)
        self._tracker.log(epoch + 1, {key: float(value) for key, value in logs.items()})

    def on_train_end(self) -> None:
        self._shown.on_train_end()

    def close(self) -> None:
        self._shown.close()
        self._tracker.close()
