"""The run directory: the recipe, the command that made it, and what came out."""

import fcntl
import json
import os
import pathlib
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfqkd.training.recipe import Recipe

RECIPE_FILE = "recipe.json"
COMMAND_FILE = "command.txt"
REPLICAS_FILE = "replicas.txt"
COMPARISON_RECIPE_FILE = "comparison_recipe.json"
RESULTS_FILE = "results.json"
LOCK_FILE = ".lock"


class RunDirectory:
    """A directory that belongs to one recipe.

    Args:
        path: Made by `begin` if it is missing.
        recipe: The recipe of the run.

    Raises:
        ValueError: If the directory belongs to another recipe, or to a comparison; the error lists the
            differences.
    """

    def __init__(self, path: pathlib.Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe
        if is_comparison(path):
            raise ValueError(
                "A run needs a directory of its own. "
                f"Received: {path}, which holds a comparison. Add --compare, or give another --run_dir."
            )
        if (path / RECIPE_FILE).exists():
            _require_same(path, read_recipe(path), recipe)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the directory, which is made if it is missing.

        The kernel drops the lock of a process that dies.

        Raises:
            RuntimeError: If another process works on it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK_FILE).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise RuntimeError(
                    "One process at a time works on a run directory. "
                    f"Received: {self.path}, on which {file.read().strip() or 'another one'} works. "
                    "Wait for it, end it, or give another --run_dir."
                ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield

    def require_replicas(self, count: int) -> None:
        """Refuses to go on with another number of replicas than the run was begun with.

        Args:
            count: On how many replicas the run depends: 1 where their number changes nothing.

        Raises:
            ValueError: If it was begun with another number.
        """
        if not (self.path / RECIPE_FILE).exists():
            return
        file = self.path / REPLICAS_FILE
        there = int(file.read_text()) if file.exists() else 1
        if there != count:
            raise ValueError(
                "A run goes on with as many devices as it was begun with: each takes the statistics of batch "
                f"norm over its own part of a batch. Received: {there} there, {count} now, for {self.path}. "
                "Take as many (--strategy), give another --run_dir, or begin with --synchronized_batch_norm."
            )

    def begin(self, command: list[str] | None = None, replicas: int = 1) -> None:
        """Makes the directory the recipe's: writes `recipe.json`, and appends to `command.txt`.

        Called once the recipe is known to be good, so that a mistaken one takes no directory.

        Args:
            command: The words of the command that was given; kept with the working directory.
            replicas: As for `require_replicas`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / RECIPE_FILE).exists():
            # Another run may have begun here since this one looked.
            _require_same(self.path, read_recipe(self.path), self.recipe)
        else:
            write_atomically(self.path / REPLICAS_FILE, f"{replicas}\n")
            write_atomically(self.path / RECIPE_FILE, self.recipe.to_json())
        if command:
            record_command(self.path, command)

    def results(self) -> dict[str, Any] | None:
        """Returns the results of a run that is done, or None."""
        file = self.path / RESULTS_FILE
        return read_json(file) if file.exists() else None

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes the results, which says that the run is done."""
        write_atomically(self.path / RESULTS_FILE, json.dumps(results, indent=2) + "\n")


def record_command(path: pathlib.Path, command: list[str]) -> None:
    """Appends a command to `command.txt`, with the directory that its relative paths start from."""
    with (path / COMMAND_FILE).open("a", encoding="utf-8") as file:
        file.write(f"{shlex.join(command)}  # in {shlex.quote(str(pathlib.Path.cwd()))}\n")


def is_comparison(path: pathlib.Path) -> bool:
    """Whether a directory holds the runs of a comparison."""
    # One whose first run was refused has none, and leaves the directory to others.
    return (path / COMPARISON_RECIPE_FILE).exists() and any(path.glob(f"*/{RECIPE_FILE}"))


def read_recipe(path: pathlib.Path) -> Recipe:
    """Returns the recipe of a run directory.

    Raises:
        ValueError: If there is none, or it cannot be read.
    """
    file = path / RECIPE_FILE
    if not file.exists():
        raise ValueError(
            f"A run directory must hold {RECIPE_FILE}. Received: {path}, which does not. "
            "Give the --run_dir of a run of bin/train."
        )
    return Recipe.from_json(file.read_text(encoding="utf-8", errors="replace"))


def read_json(file: pathlib.Path) -> Any:
    """Reads a JSON file of a run.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"A file of a run must be as it was written. Received: {file} ({error}). "
            "Remove it: the same bin/train command makes it anew from the products."
        ) from error


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a text file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def sync(path: pathlib.Path) -> None:
    """Makes a file, or the names in a directory, outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _require_same(path: pathlib.Path, there: Recipe, given: Recipe) -> None:
    refuse_differences(path, there.differences(given))


def refuse_differences(path: pathlib.Path, differences: dict[str, tuple[Any, Any]]) -> None:
    """Raises ValueError if there are any: name to (what is there, what is given)."""
    if differences:
        listed = "\n".join(
            f"  {name}: {old!r} there, {new!r} given" for name, (old, new) in differences.items()
        )
        raise ValueError(
            f"A run directory belongs to one recipe. Received: another one for {path}:\n{listed}\n"
            "Give another --run_dir, or the recipe that is there."
        )
