"""The state of a training on disk, as arrays: of any backend, read by any."""

import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.fronts.trainer import ForeignStateError

_STATE = "state.npz"


class State:
    """Weights, optimizer, seeds of random layers, and what methods add; whole epochs alone are kept.

    Args:
        networks: The trained one, and those that train along.
        optimizer: Built for all that trains.
    """

    def __init__(self, networks: Sequence[keras.Model], optimizer: keras.Optimizer) -> None:
        found = [*optimizer.variables, *(each for one in networks for each in one.variables)]
        self._variables = {f"{place}/{each.path}": each for place, each in enumerate(found)}

    def add(self, name: str, variable: keras.Variable) -> None:
        """Adds a variable to the state."""
        self._variables[name] = variable

    def write(self, directory: pathlib.Path) -> None:
        """Writes all of it."""
        values = {name: _array(variable) for name, variable in self._variables.items()}
        # Names are no file names: they hold slashes.
        arrays: dict[str, Any] = {str(place): value for place, value in enumerate(values.values())}
        np.savez(directory / _STATE, names=np.array(list(values)), **arrays)

    def read(self, directory: pathlib.Path) -> None:
        """Reads what `write` wrote.

        Raises:
            ForeignStateError: If it is of another training.
        """
        with np.load(directory / _STATE, allow_pickle=False) as file:
            names = file["names"].tolist()
            if names != list(self._variables):
                other = sorted(set(names) ^ set(self._variables))
                raise ForeignStateError(f"other variables: {', '.join(other[:3]) or 'their order'}")
            values = [file[str(place)] for place in range(len(names))]
        pairs = list(zip(self._variables.items(), values, strict=True))
        for (name, variable), value in pairs:
            if tuple(variable.shape) != value.shape:
                raise ForeignStateError(f"{name} of shape {value.shape}, not {variable.shape}")
        for (_, variable), value in pairs:
            variable.assign(value)

    def damage(self, directory: pathlib.Path) -> str:
        """Says which checksum of what was written does not hold; nothing if all do."""
        try:
            with zipfile.ZipFile(directory / _STATE) as file:
                bad = file.testzip()
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
            return f"{_STATE} is not what was written: {error}"
        return f"{_STATE} is not what was written: {bad}" if bad else ""


def _array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable.value))


def variables_added(keep: Callable[[str, keras.Variable], None]) -> Callable[[str, Any], Any]:
    """Returns what makes a float32 variable of a name and a first value, and keeps it."""

    def add(name: str, first: np.ndarray) -> keras.Variable:
        variable = keras.Variable(
            first, dtype="float32", trainable=False, name=name.replace("/", ".")
        )
        keep(name, variable)
        return variable

    return add
