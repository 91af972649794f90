"""What the replicas of a training on TensorFlow hold: Keras 3 lets each have moving averages of its own."""

from typing import Any

import keras
import numpy as np

_ops = keras.ops


def copies(model: keras.Model, variable: keras.Variable) -> list[np.ndarray]:
    """Returns what each replica that a model is trained on holds of a variable."""
    strategy = getattr(model, "distribute_strategy", None)
    value = variable.value
    local = strategy.experimental_local_results(value) if strategy else [value]
    return [_ops.convert_to_numpy(each) for each in local]


class AverageReplicas(keras.callbacks.Callback):
    """Gives all replicas the mean of what they hold, before a student is evaluated or saved.

    The statistics of a batch norm that is not synchronized, that is: each replica sees its own part of a
    batch. A mean of moving averages is the moving average of the means, and training reads none of them: how
    often it is taken changes nothing.
    """

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before a validation."""
        self._average()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Before the callbacks behind it, which may save."""
        self._average()

    def _average(self) -> None:
        for variable in self.model.student.non_trainable_variables:
            if "float" in str(variable.dtype):
                held = copies(self.model, variable)
                # What is equal stays so, to the bit.
                if any(np.any(each != held[0]) for each in held):
                    variable.assign(np.mean(held, axis=0, dtype=np.float64))
