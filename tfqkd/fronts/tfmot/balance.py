"""Weights of losses that are found once, from the norms of gradients, inside the training step."""

import functools
from collections.abc import Callable, Mapping

from tfqkd.compat import keras, tf
from tfqkd.core.weights import NOT_SYNCHRONIZED, Weight, ratio_of
from tfqkd.fronts.tfmot.model import quantizer_variables
from tfqkd.fronts.tfmot.replicas import replica_variable

_UNKNOWN = -1.0


class Balances:
    """The weights `w = R·‖∇hard‖/‖∇loss‖` of the losses that are balanced; see `core.weights`.

    Each is found at the first step at which its loss has a gradient, is 0 before it, and then stays. The
    norms are over those of the student's weights that both losses reach, without scales of quantizers; of
    several replicas their squares are averaged.

    Args:
        weights: Of all losses, by name.
    """

    def __init__(self, weights: Mapping[str, Weight]) -> None:
        ratios = {name: ratio_of(weight) for name, weight in weights.items()}
        self._ratios = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        self.variables = {
            name: replica_variable(_UNKNOWN, tf.float32, f"{name}_balance") for name in self._ratios
        }

    def __bool__(self) -> bool:
        return bool(self._ratios)

    def find(
        self,
        tape: tf.GradientTape,
        hard: tf.Tensor,
        losses: Mapping[str, tf.Tensor | list[tf.Tensor]],
        student: keras.Model,
    ) -> dict[str, tf.Tensor]:
        """Returns the weights for this step, and keeps what it finds; in a step, under the tape.

        Args:
            tape: Persistent; recorded the losses.
            hard: The mean of the hard loss over this replica's examples.
            losses: The unweighted others, by name; the first of a list, and none of an empty one.
            student: Whose weights the gradients are of.

        Raises:
            ValueError: If several replicas synchronize its batch norm; as the step is traced.
        """
        if not self:
            return {}
        self._require_apart(student)
        scales = {id(variable) for variable in quantizer_variables(student)}
        weights = [each for each in student.trainable_variables if id(each) not in scales]
        single = {
            name: loss[:1] if isinstance(loss, list) else [loss] for name, loss in losses.items()
        }
        with tape.stop_recording():
            return {
                name: self._found(
                    name, functools.partial(_squares, tape, hard, single[name][0], weights)
                )
                for name in self._ratios
                if single[name]
            }

    def _require_apart(self, student: keras.Model) -> None:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        parts = getattr(student, "submodules", ())
        if replicas > 1 and any(getattr(part, "synchronized", False) for part in parts):
            losses = ", ".join(self._ratios)
            raise ValueError(NOT_SYNCHRONIZED.format(losses=losses, replicas=replicas))

    def _found(self, name: str, measure: Callable[[], tf.Tensor]) -> tf.Tensor:
        variable = self.variables[name]
        known = tf.convert_to_tensor(variable)
        is_open = known < 0
        squares = tf.cond(is_open, measure, lambda: tf.zeros([2]))
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            # Outside of the condition: inside, replicas cannot meet. Their number is in both sums.
            squares = replica.all_reduce(tf.distribute.ReduceOp.SUM, squares)
        ratio = self._ratios[name] * tf.sqrt(tf.math.divide_no_nan(squares[0], squares[1]))
        value = tf.where(tf.logical_and(is_open, squares[1] > 0), ratio, known)
        variable.assign(value)
        return tf.maximum(value, 0.0)


def _squares(
    tape: tf.GradientTape, hard: tf.Tensor, loss: tf.Tensor, weights: list[tf.Variable]
) -> tf.Tensor:
    """The squared norms of both gradients, over the weights that both reach."""
    pairs = zip(tape.gradient(hard, weights), tape.gradient(loss, weights), strict=True)
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if not both:
        return tf.zeros([2])
    return tf.stack([tf.linalg.global_norm(side) for side in zip(*both, strict=True)]) ** 2
