"""The state of a training on disk, as TensorFlow's checkpoints write it."""

import pathlib
from collections.abc import Sequence

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.metrics import built_metrics
from tfqkd.fronts.tfmot.second_pass import random_states
from tfqkd.fronts.trainer import ForeignStateError
from tfqkd.process.messages import first_line

_STATE, _AVERAGES = "state", "metrics"
_NO_FAULT_OF_ITS_OWN = (
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnknownError,
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
)
"""What TensorFlow raises where memory, the disk or another worker is to blame."""


class State:
    """Weights, the optimizer with its slots and step, the state of random layers, and an epoch's averages.

    Args:
        network: A compiled model: the trained one itself, or what trains it.
        trained: The network whose weights are saved; the student of a distiller, never its teacher.
        beside: The networks that train along.
    """

    def __init__(
        self, network: keras.Model, trained: keras.Model, beside: Sequence[keras.Model] = ()
    ) -> None:
        variables = [
            variable for each in (trained, *beside) for variable in each.trainable_variables
        ]
        network.optimizer.build(variables)
        random = [state for each in (trained, *beside) for state in random_states(each)]
        also = {"beside": list(beside)} if beside else {}
        self._state = tf.train.Checkpoint(
            model=trained, optimizer=network.optimizer, random=random, **also
        )
        self._averages = tf.train.Checkpoint(metrics=built_metrics(network, trained))

    def add(self, name: str, variable: tf.Variable) -> None:
        """Adds a variable to the state."""
        setattr(self._state, name.replace("/", "."), variable)

    def write(self, directory: pathlib.Path) -> None:
        """Writes all but the averages."""
        self._state.write(str(directory / _STATE))

    def read(self, directory: pathlib.Path) -> None:
        """Reads what `write` wrote; raises ForeignStateError if it does not fit."""
        _read(self._state, directory / _STATE)

    def damage(self, directory: pathlib.Path, *, has_averages: bool) -> str:
        """Says which checksum of TensorFlow's does not hold; nothing if all do.

        Args:
            directory: What `write` wrote to.
            has_averages: Whether `write_averages` wrote there too.
        """
        for name in (_STATE, _AVERAGES) if has_averages else (_STATE,):
            try:
                reader = tf.train.load_checkpoint(str(directory / name))
                for tensor in reader.get_variable_to_shape_map():
                    reader.get_tensor(tensor)
            except _NO_FAULT_OF_ITS_OWN:
                raise
            except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
                return f"{name} is not what was written: {first_line(error)}"
        return ""

    def write_averages(self, directory: pathlib.Path) -> None:
        """Writes the sums behind the averages of an epoch."""
        self._averages.write(str(directory / _AVERAGES))

    def read_averages(self, directory: pathlib.Path) -> None:
        """Reads what `write_averages` wrote; raises ForeignStateError if it does not fit."""
        _read(self._averages, directory / _AVERAGES)


def _read(checkpoint: tf.train.Checkpoint, prefix: pathlib.Path) -> None:
    try:
        checkpoint.read(str(prefix)).assert_existing_objects_matched()
    except _NO_FAULT_OF_ITS_OWN:
        raise
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise ForeignStateError(first_line(error)) from error
