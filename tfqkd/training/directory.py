"""The run directory: the recipe, the command that made it, and what came out."""

import json
import os
import pathlib
import shlex
from typing import Any

from tfqkd.training.recipe import Recipe

RECIPE_FILE = "recipe.json"
COMMAND_FILE = "command.txt"
RESULTS_FILE = "results.json"


class RunDirectory:
    """A directory that belongs to one recipe.

    Args:
        path: Made by `begin` if it is missing.
        recipe: The recipe of the run.

    Raises:
        ValueError: If the directory belongs to another recipe; the error lists the differences.
    """

    def __init__(self, path: pathlib.Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe
        if (path / RECIPE_FILE).exists():
            _require_same(path, read_recipe(path), recipe)

    def begin(self, command: list[str] | None = None) -> None:
        """Makes the directory the recipe's: writes `recipe.json`, and appends to `command.txt`.

        Called once the recipe is known to be good, so that a mistaken one takes no directory.

        Args:
            command: The command line that was given, kept word for word.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / RECIPE_FILE).exists():
            write_atomically(self.path / RECIPE_FILE, self.recipe.to_json())
        if command:
            with (self.path / COMMAND_FILE).open("a") as file:
                file.write(shlex.join(command) + "\n")

    def results(self) -> dict[str, Any] | None:
        """Returns the results of a run that is done, or None."""
        file = self.path / RESULTS_FILE
        return json.loads(file.read_text()) if file.exists() else None

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes the results, which says that the run is done."""
        write_atomically(self.path / RESULTS_FILE, json.dumps(results, indent=2) + "\n")


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
    return Recipe.from_json(file.read_text())


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a text file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _require_same(path: pathlib.Path, there: Recipe, given: Recipe) -> None:
    differences = there.differences(given)
    if differences:
        listed = "\n".join(
            f"  {name}: {old!r} there, {new!r} given" for name, (old, new) in differences.items()
        )
        raise ValueError(
            f"A run directory belongs to one recipe. Received: another one for {path}:\n{listed}\n"
            "Give another --run_dir, or the recipe that is there."
        )
