"""Checkpoints of a stage: enough to go on at any step as if nothing had happened."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from tfqkd.fronts.trainer import ForeignStateError, Position, Trainer
from tfqkd.storage import PARTIAL, put_in_place

_CHUNK = 1 << 20


class Checkpoints:
    """The last checkpoints of a training, each a directory that appears whole or not at all.

    A checkpoint holds the weights, the optimizer with its slots and step, the state of random layers and,
    inside an epoch, the sums behind the epoch's averages. The checksums that the front wrote with them are
    checked before it is read. Data order, views and schedules are functions of the position.

    Args:
        directory: Where they are.
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
        """Restores the last whole checkpoint, if there is one, and returns where training resumes.

        A damaged one is named on standard output and passed over for the one before it.

        Raises:
            ValueError: If one is whole, but of another training.
        """
        for position, path in reversed(list(self._found())):
            damage = self._damage(path, position)
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

    def _damage(self, path: pathlib.Path, position: Position) -> str:
        """Says what is wrong with a checkpoint; nothing if it is whole."""
        for file in path.iterdir():
            if file.is_symlink() or not file.is_file():
                return f"{file.name} is no file"
            # Raises where the system refuses to read: a front may take that for damage.
            with file.open("rb") as stream:
                while stream.read(_CHUNK):
                    pass
        return self._trainer.damage(path, has_averages=position.step > 0)

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
            f"A checkpoint must belong to the training that resumes from it. Received: {path} ({error}). "
            f"Remove {path.parent}; the stage then starts from its beginning."
        ) from error
