"""Checkpoints of a stage: enough to go on at any step as if nothing had happened."""

import contextlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from tfqkd.fronts.trainer import ForeignStateError, Position, Trainer
from tfqkd.storage import PARTIAL, file_digest, put_in_place, write_atomically
from tfqkd.training.directory import look_at_json

_MANIFEST = "checkpoint.json"


class Checkpoints:
    """The last checkpoints of a training, each a directory that appears whole or not at all.

    A checkpoint holds the weights, the optimizer with its slots and step, the state of random layers and,
    inside an epoch, the sums behind the epoch's averages; and the SHA-256 of every file, which is checked
    when it is read. Data order, views and schedules are functions of the position.

    Args:
        directory: Where they lie.
        trainer: What is trained; it writes and reads its state.
        kept: How many are kept, at least 1.
        writes: Whether this process writes them. Of several workers only the chief does; the others take
            part, since reading a variable of all workers is an operation of all.
    """

    def __init__(
        self, directory: pathlib.Path, trainer: Trainer, kept: int, writes: bool = True
    ) -> None:
        self._directory, self._trainer = directory, trainer
        self._kept, self._writes = kept, writes
        self._restored: pathlib.Path | None = None

    def restore(self) -> Position:
        """Restores the last whole checkpoint, if there is one, and returns where training goes on.

        A damaged one is named on standard output and passed over for the one before it.

        Raises:
            ValueError: If one is whole, but of another training.
        """
        for position, path in reversed(list(self._found())):
            damage = _damage(path, self._trainer.state_file)
            if damage:
                print(
                    f"The checkpoint {path} is damaged ({damage}); trying the one before.",
                    flush=True,
                )
                if self._writes:
                    shutil.rmtree(path)
                continue
            with _named(path):
                self._trainer.read_state(path)
            self._restored = path
            return position
        return Position(0, 0)

    def restore_metrics(self) -> None:
        """Restores the sums behind the averages of the epoch that was interrupted."""
        if self._restored is not None:
            with _named(self._restored):
                self._trainer.read_averages(self._restored)

    def save(self, position: Position) -> None:
        """Writes a checkpoint and removes those that are too old."""
        if not self._writes:
            with tempfile.TemporaryDirectory() as scratch:
                self._write(pathlib.Path(scratch), position)
            return
        self._directory.mkdir(exist_ok=True)
        for left in self._directory.glob(f"*{PARTIAL}"):
            shutil.rmtree(left)
        path = self._directory / f"epoch{position.epoch:06}-step{position.step:09}"
        partial = path.with_name(path.name + PARTIAL)
        partial.mkdir()
        self._write(partial, position)
        if path.exists():
            shutil.rmtree(path)
        put_in_place(partial, path)
        for _, old in list(self._found())[: -self._kept]:
            shutil.rmtree(old)

    def _write(self, path: pathlib.Path, position: Position) -> None:
        self._trainer.write_state(path)
        if position.step:
            self._trainer.write_averages(path)
        files = {file.name: file_digest(file) for file in sorted(path.iterdir())}
        manifest = {**position._asdict(), "sha256": files}
        write_atomically(path / _MANIFEST, json.dumps(manifest, indent=2) + "\n")

    def _found(self) -> Iterator[tuple[Position, pathlib.Path]]:
        """Yields the checkpoints, oldest first."""
        for path in sorted(self._directory.glob("epoch*-step*")):
            epoch, _, step = path.name.removeprefix("epoch").partition("-step")
            if epoch.isdecimal() and step.isdecimal():
                yield Position(int(epoch), int(step)), path


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except ForeignStateError as error:
        raise ValueError(
            "A checkpoint must be of the training that goes on with it. "
            f"Received: {path} ({error}). Remove {path.parent}; the stage then begins anew."
        ) from error


def _damage(path: pathlib.Path, state_file: str) -> str:
    """Says what is wrong with a checkpoint; nothing if it is whole."""
    manifest, damage = look_at_json(path / _MANIFEST, {"sha256": {state_file: str}})
    if damage:
        return f"{_MANIFEST}: {damage}"
    # A manifest names no other file, and what the system refuses to read is not damaged.
    there = {file.name for file in path.iterdir() if file.is_file() and not file.is_symlink()}
    for name, digest in manifest["sha256"].items():
        if name not in there or file_digest(path / name) != digest:
            return f"{name} is not what was written"
    return ""
