"""The state of a training on disk, as arrays: of any backend, read by any."""

import json
import math
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.fronts.keras3.replicas import values
from tfqkd.fronts.trainer import ForeignStateError

_STATE, _AVERAGES = "state.npz", "metrics.npz"


class State:
    """Weights, optimizer, seeds of random layers, and what methods add; and an epoch's averages.

    Args:
        network: Compiled; what trains.
        networks: The trained one, and those that train along.
        optimizer: Built for all that trains.
    """

    def __init__(
        self, network: keras.Model, networks: Sequence[keras.Model], optimizer: keras.Optimizer
    ) -> None:
        self._network = network
        found = [*optimizer.variables, *(each for one in networks for each in one.variables)]
        self._variables = {f"{index}/{each.path}": each for index, each in enumerate(found)}

    def add(self, name: str, variable: keras.Variable) -> None:
        """Adds a variable to the state."""
        self._variables[name] = variable

    def write(self, directory: pathlib.Path) -> None:
        """Writes all but the averages."""
        synchronize(self._network)
        _write(self._network, self._variables, directory / _STATE)

    def read(self, directory: pathlib.Path) -> None:
        """Reads what `write` wrote; raises ForeignStateError if it is of another training."""
        _read(self._variables, directory / _STATE)

    def write_averages(self, directory: pathlib.Path) -> None:
        """Writes the sums behind the averages of an epoch."""
        synchronize(self._network)
        _write(self._network, self._averages(), directory / _AVERAGES)

    def read_averages(self, directory: pathlib.Path) -> None:
        """Reads what `write_averages` wrote; raises ForeignStateError if it is of another training."""
        _read(self._averages(), directory / _AVERAGES)

    def damage(self, directory: pathlib.Path, *, has_averages: bool) -> str:
        """Says which checksum of what was written does not hold; nothing if all do."""
        found = (_damage(directory / name) for name in (_STATE, _AVERAGES)[: 1 + has_averages])
        return next(filter(None, found), "")

    def _averages(self) -> dict[str, keras.Variable]:
        # They are made when the network sees its first batch.
        found = enumerate(self._network.metrics_variables)
        return {f"{index}/{each.path}": each for index, each in found}


def synchronize(network: keras.Model) -> None:
    """Gives the variables of a network their values, which JAX keeps aside inside an epoch."""
    if hasattr(network, "jax_state_sync"):
        network.jax_state_sync()


def _write(
    network: keras.Model, variables: Mapping[str, keras.Variable], file: pathlib.Path
) -> None:
    arrays = values(network, list(variables.values()))
    # Hundreds of entries of an archive would take longer than all that they hold.
    facts = [
        (name, str(array.dtype), array.shape) for name, array in zip(variables, arrays, strict=True)
    ]
    numbers = b"".join(array.tobytes() for array in arrays)
    np.savez(file, facts=np.array(json.dumps(facts)), numbers=np.frombuffer(numbers, np.uint8))


def _read(variables: Mapping[str, keras.Variable], file: pathlib.Path) -> None:
    with np.load(file, allow_pickle=False) as stored:
        if set(stored.files) != {"facts", "numbers"}:
            raise ForeignStateError(f"{file.name} of another tfqkd")
        facts, numbers = json.loads(str(stored["facts"])), stored["numbers"].tobytes()
    names = [name for name, *_ in facts]
    if names != list(variables):
        other = sorted(set(names) ^ set(variables))
        raise ForeignStateError(f"other variables: {', '.join(other[:3]) or 'their order'}")
    for (name, _, shape), variable in zip(facts, variables.values(), strict=True):
        if tuple(variable.shape) != tuple(shape):
            raise ForeignStateError(f"{name} of shape {tuple(shape)}, not {variable.shape}")
    start = 0
    for (_, dtype, shape), variable in zip(facts, variables.values(), strict=True):
        array = np.frombuffer(numbers, dtype, math.prod(shape), start).reshape(shape)
        start += array.nbytes
        variable.assign(array)


def _damage(path: pathlib.Path) -> str:
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, zlib.error) as error:
        return f"{path.name} is not what was written: {error}"
    return f"{path.name} is not what was written: {bad}" if bad else ""


def variables_added(keep: Callable[[str, keras.Variable], None]) -> Callable[[str, Any], Any]:
    """Returns what makes a float32 variable of a name and a first value, and keeps it."""

    def add(name: str, first: np.ndarray) -> keras.Variable:
        variable = keras.Variable(
            first, dtype="float32", trainable=False, name=name.replace("/", ".")
        )
        keep(name, variable)
        return variable

    return add
