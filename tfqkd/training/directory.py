"""The run directory: the recipe, the command that made it, and what came out."""

import contextlib
import json
import os
import pathlib
import shlex
import socket
from collections.abc import Iterator
from typing import Any

from tfqkd.storage import OccupiedError, locked_at_once, write_atomically
from tfqkd.training.recipe import Recipe

RECIPE_FILE = "recipe.json"
COMMAND_FILE = "command.txt"
REPLICAS_FILE = "replicas.txt"
COMPARISON_RECIPE_FILE = "comparison_recipe.json"
RESULTS_FILE = "results.json"
LOCK_FILE = ".lock"

_NUMBER = (int, float)
MEASURED = {
    "name": str,
    "parameters": int,
    "accuracy": _NUMBER,
    "top5": (int, float, type(None)),
    "loss": _NUMBER,
}
"""What is kept of a measured model, as a shape for `read_json`."""
EXPORTED = {
    "path": str,
    "format": str,
    "bytes": int,
    "gzip_bytes": int,
    "max_difference": _NUMBER,
    "agreement": _NUMBER,
}
"""What is told of an exported file, as a shape for `read_json`."""
_RESULTS = {"models": [{"role": str, "model": str, **MEASURED}], "export": [EXPORTED, ...]}


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
            self.recipe = recipe.resumed_as(read_recipe(path))
        self._require_same()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the directory, which is made if it is missing.

        The kernel drops the lock of a process that dies.

        Raises:
            RuntimeError: If another process works on it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        owner = f"process {os.getpid()} on {socket.gethostname()}\n"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked_at_once(self.path / LOCK_FILE, owner))
            except OccupiedError as error:
                raise RuntimeError(
                    "One process at a time works on a run directory. "
                    f"Received: {self.path}, on which {str(error) or 'another one'} works. "
                    "Wait for it, end it, or give another --run_dir."
                ) from error
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
        there = file.read_text(errors="replace").strip() if file.exists() else "1"
        if there != str(count):
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
        # Another run may have begun here since this one looked.
        there = self._require_same()
        if there is None:
            write_atomically(self.path / REPLICAS_FILE, f"{replicas}\n")
        if there is None or there.formats != self.recipe.formats:
            write_atomically(self.path / RECIPE_FILE, self.recipe.to_json())
        if command:
            record_command(self.path, command)

    def _require_same(self) -> Recipe | None:
        """Returns the recipe that is there, if any, and refuses another one."""
        if not (self.path / RECIPE_FILE).exists():
            return None
        there = read_recipe(self.path)
        differences = there.differences(self.recipe)
        if not (self.path / RESULTS_FILE).exists():
            # An export that fails after days of training is mended by another format.
            differences.pop("formats", None)
        refuse_differences(self.path, differences)
        return there

    def results(self) -> dict[str, Any] | None:
        """Returns the results of a run that is done, or None."""
        return read_results(self.path) if (self.path / RESULTS_FILE).exists() else None

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


def read_results(path: pathlib.Path) -> dict[str, Any]:
    """Returns what `results.json` of a run directory holds.

    Raises:
        ValueError: If it is damaged.
    """
    return read_json(path / RESULTS_FILE, _RESULTS)


def read_json(file: pathlib.Path, shape: Any, whole: pathlib.Path | None = None) -> Any:
    """Reads a JSON file of a run.

    Args:
        file: The file.
        shape: As for `look_at_json`.
        whole: The product that it is a part of; the file itself if None.

    Raises:
        ValueError: If it is damaged.
    """
    value, damage = look_at_json(file, shape)
    if damage:
        raise ValueError(
            f"A file of a run must be as it was written. Received: {file} ({damage}). "
            f"Remove {whole or file}: the same bin/train command makes it anew."
        )
    return value


def look_at_json(file: pathlib.Path, shape: Any) -> tuple[Any, str]:
    """Returns what a JSON file holds, and how it is damaged; "" if it is not.

    Args:
        file: The file.
        shape: What it must hold: a type or several, `{name: shape}` for an object that has these names,
            `[shape]` for a list of one or more, `[shape, ...]` for one of any number.
    """
    try:
        value = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError) as error:
        return None, str(error)
    return value, "" if _fits(value, shape) else "what it should hold is not in it"


def _fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, dict):
        named = isinstance(value, dict) and set(shape) <= set(value)
        return named and all(_fits(value[name], each) for name, each in shape.items())
    if isinstance(shape, list):
        enough = isinstance(value, list) and (bool(value) or ... in shape)
        return enough and all(_fits(each, shape[0]) for each in value)
    return isinstance(value, shape)


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
