"""TensorBoard's files, written by the package tensorboard alone; TensorFlow, where it is, is not asked."""

import itertools
import os
import pathlib
import socket
import time
from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from tfqkd.fronts.trainer import Watcher

_VALIDATION = "val_"
_files = itertools.count()


class EventFile:
    """A file of events. A call returns when its event is on the disk.

    Args:
        directory: Where it is; made if it is missing.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        suffix = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_files)}"
        self._file = (directory / f"events.out.tfevents.{suffix}").open("xb")
        self._writer = RecordWriter(self._file)
        self._write(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers by their tags."""
        found = [summary_pb2.Summary.Value(tag=t, simple_value=v) for t, v in values.items()]
        self.add_summary(summary_pb2.Summary(value=found), step)

    def add_summary(self, summary: Any, step: int = 0) -> None:
        """Writes a summary."""
        self._write(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Closes it."""
        self._file.close()

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())
        self._writer.flush()


class EpochScalars(Watcher):
    """Writes the logs of each epoch under the names of Keras' TensorBoard callback.

    Args:
        directory: Gets the folders `train` and, where there is any, `validation`.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._files: dict[str, EventFile] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Writes them."""
        for folder, names in (
            ("train", [name for name in logs if not name.startswith(_VALIDATION)]),
            ("validation", [name for name in logs if name.startswith(_VALIDATION)]),
        ):
            if names and folder not in self._files:
                self._files[folder] = EventFile(self._directory / folder)
            values = {
                f"epoch_{name.removeprefix(_VALIDATION)}": float(logs[name]) for name in names
            }
            if values:
                self._files[folder].add_scalars(values, epoch)

    def on_train_end(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()
