"""The run directory: the recipe, the command that made it, and what came out."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
import socket
from collections.abc import Iterator
from typing import Any

from tfqkd.recipe.recipe import Recipe
from tfqkd.storage import OccupiedError, locked_at_once, read_json, write_atomically
from tfqkd.training.execution import formats_of, options_of
from tfqkd.training.presets import PAPER, Preset
from tfqkd.training.results import RESULTS_FILE, Results
from tfqkd.training.stage import plain

RECIPE_FILE = "recipe.json"
COMMAND_FILE = "command.txt"
REPLICAS_FILE = "replicas.txt"
PRESET_FILE = "preset.json"
USES_FILE = "uses.json"
LOCK_FILE = ".lock"


@dataclasses.dataclass(frozen=True)
class Uses:
    """What a run uses of the products, for those who tidy up.

    Attributes:
        products: Names.
        views: How many views of the images teachers' logits are kept for.
    """

    products: tuple[str, ...]
    views: int = 0


NO_USES = Uses(())


class RunDirectory:
    """A directory that belongs to one recipe and preset.

    Args:
        path: Made by `begin` if it is missing.
        recipe: The recipe of the run.
        preset: Which stages it has.

    Raises:
        ValueError: If the directory belongs to another recipe or preset; the error lists the differences.
    """

    def __init__(self, path: pathlib.Path, recipe: Recipe, preset: Preset = PAPER) -> None:
        self.path = path
        self.recipe = recipe
        self._preset = plain(preset)
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
                    f"Only one process may work on a run directory. Received: {self.path}, which "
                    f"{str(error) or 'another one'} is using. Wait for it, stop it, or give another "
                    "--run_dir."
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
                "A run must resume with as many devices as it started with: each takes the statistics of "
                f"batch norm over its own part of a batch. Received: {there} there, {count} now, for "
                f"{self.path}. Use as many (--run.strategy), give another --run_dir, or start with "
                "--run.synchronized_batch_norm."
            )

    def begin(
        self, command: list[str] | None = None, replicas: int = 1, uses: Uses = NO_USES
    ) -> None:
        """Makes the directory the recipe's: writes `recipe.json`, and appends to `command.txt`.

        Called once the recipe is known to be good, so that a mistaken one takes no directory.

        Args:
            command: The words of the command that was given; kept with the working directory.
            replicas: As for `require_replicas`.
            uses: What the run will use.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # Another run may have begun here since this one looked.
        there = self._require_same()
        listed = {"products": list(uses.products), "views": uses.views}
        write_atomically(self.path / USES_FILE, json.dumps(listed, indent=2) + "\n")
        if there is None:
            write_atomically(self.path / REPLICAS_FILE, f"{replicas}\n")
            write_atomically(self.path / PRESET_FILE, json.dumps(self._preset) + "\n")
        if there is None or _files_of(there) != _files_of(self.recipe):
            write_atomically(self.path / RECIPE_FILE, self.recipe.to_json())
        if command:
            append_command(self.path, command)

    def _require_same(self) -> Recipe | None:
        """Returns the recipe of the directory, None if it has none yet; refuses another one."""
        if not (self.path / RECIPE_FILE).exists():
            return None
        there = read_recipe(self.path)
        differences = there.differences(self.recipe)
        file, here = self.path / PRESET_FILE, self._preset
        preset = read_json(file, {"kind": str}) if file.exists() else plain(PAPER)
        if preset["kind"] != here["kind"]:
            differences["preset"] = (preset["kind"], here["kind"])
        else:
            changed = [name for name in here if preset.get(name) != here[name]]
            differences |= {name: (preset.get(name), here[name]) for name in changed}
        if not (self.path / RESULTS_FILE).exists():
            # An export that fails after days of training is mended by another format.
            differences.pop("formats", None)
            differences.pop("export.arena_bytes", None)
        if differences:
            listed = "\n".join(
                f"  {n}: {a!r} there, {b!r} given" for n, (a, b) in differences.items()
            )
            raise ValueError(
                "A run directory belongs to one recipe. "
                f"Received: another one for {self.path}:\n{listed}\n"
                "Give another --run_dir, or the recipe of this one."
            )
        return there

    def results(self) -> Results | None:
        """Returns the results of a run that is done, or None."""
        return Results.read(self.path) if (self.path / RESULTS_FILE).exists() else None

    def write_results(self, results: Results) -> None:
        """Writes the results, which says that the run is done."""
        write_atomically(self.path / RESULTS_FILE, results.to_json())


def _files_of(recipe: Recipe) -> tuple[Any, ...]:
    return formats_of(recipe), options_of(recipe)


def append_command(path: pathlib.Path, command: list[str]) -> None:
    """Appends a command to `command.txt`, with the directory that its relative paths start from."""
    with (path / COMMAND_FILE).open("a", encoding="utf-8") as file:
        file.write(f"{shlex.join(command)}  # in {shlex.quote(str(pathlib.Path.cwd()))}\n")


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
    text = file.read_text(encoding="utf-8", errors="replace")
    # What an older tfqkd has finished can be read; what it has started cannot be resumed.
    return Recipe.from_json(text, finished=(path / RESULTS_FILE).exists())
