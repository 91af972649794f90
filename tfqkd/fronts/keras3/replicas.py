"""What the replicas of a training on TensorFlow hold: Keras 3 lets each have moving averages of its own."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

_ops = keras.ops


def replicas_of(model: keras.Model) -> int:
    """Returns on how many replicas of TensorFlow a model is trained; 1 on other backends."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def copies(model: keras.Model, variable: keras.Variable) -> list[np.ndarray]:
    """Returns what each replica that a model is trained on holds of a variable."""
    strategy = getattr(model, "distribute_strategy", None)
    value = variable.value
    local = strategy.experimental_local_results(value) if strategy else [value]
    return [_ops.convert_to_numpy(each) for each in local]


def values(model: keras.Model, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Returns what the first replica holds of each variable; JAX is asked for all of them at once."""
    strategy = getattr(model, "distribute_strategy", None)
    held = [variable.value for variable in variables]
    if strategy:
        held = [strategy.experimental_local_results(value)[0] for value in held]
    if keras.backend.backend() != "jax":
        return [_ops.convert_to_numpy(value) for value in held]
    # Each by itself waits for its own way from the device.
    import jax  # noqa: PLC0415 (of the backend; the others may not have it)

    return [np.asarray(value) for value in jax.device_get(held)]


def read(variable: keras.Variable) -> np.ndarray:
    """Returns the value of a variable, on several replicas of TensorFlow that of the first."""
    value = variable.value
    held = getattr(value, "values", None)
    return np.asarray(_ops.convert_to_numpy(held[0] if isinstance(held, tuple) else value))


class AverageReplicas(keras.callbacks.Callback):
    """Gives all replicas the mean of what they hold, before a student is evaluated or saved.

    The statistics of a batch norm that is not synchronized, that is: each replica sees its own part of a
    batch. A mean of moving averages is the moving average of the means, and training reads none of them: how
    often it is taken changes nothing.

    Args:
        networks: All that is trained.
    """

    def __init__(self, networks: Sequence[keras.Model]) -> None:
        super().__init__()
        self._networks = networks

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before a validation."""
        self.average()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Before the callbacks behind it, which may save."""
        self.average()

    def average(self) -> None:
        """Before a state is written inside an epoch; nothing before the first batch, or on one device."""
        if replicas_of(self.model) == 1:
            return
        for variable in (v for each in self._networks for v in each.non_trainable_variables):
            if "float" in str(variable.dtype):
                held = copies(self.model, variable)
                # What is equal stays so, to the bit.
                if any(np.any(each != held[0]) for each in held):
                    variable.assign(np.mean(held, axis=0, dtype=np.float64))


@contextlib.contextmanager
def synchronized(norms: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Within it the replicas of TensorFlow take statistics over the whole batch, as JAX always does.

    Behind it the layers are as they were: other backends refuse to load a file that asks for it.
    """
    before = [norm.synchronized for norm in norms]
    is_tensorflow = keras.backend.backend() == "tensorflow"
    for norm in norms:
        norm.synchronized = is_tensorflow
    try:
        yield
    finally:
        for norm, one in zip(norms, before, strict=True):
            norm.synchronized = one
