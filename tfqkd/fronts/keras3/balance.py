"""Weights of losses that are found once, from the norms of gradients, before a training step."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.core.weights import NOT_SYNCHRONIZED, Weight, ratio_of
from tfqkd.fronts.keras3.batch_norm import batch_norms
from tfqkd.fronts.keras3.model import quantizer_variables
from tfqkd.fronts.keras3.replicas import replicas_of
from tfqkd.fronts.keras3.torch_draws import torch_draws_kept

_ops = keras.ops
_UNKNOWN = -1.0


class Balances:
    """The weights `w = R·‖∇hard‖/‖∇loss‖` of the losses that are balanced; see `core.weights`.

    Each is found at the first step at which its loss has a gradient, is 0 before it, and then stays. The
    norms are over those of the student's weights that both losses reach, without scales of quantizers. On
    JAX they are of the whole batch; of several replicas of TensorFlow the squares are averaged.

    The step itself is that of the backend: what is measured before it is what the step will compute, from the
    same state, and leaves nothing behind but the weights.

    Attributes:
        variable: Float32 [balanced losses], below 0 where a weight is not known; for checkpoints.

    Args:
        weights: Of all losses, by name.
        student: Whose weights the gradients are of.
    """

    def __init__(self, weights: Mapping[str, Weight], student: keras.Model) -> None:
        ratios = {name: ratio_of(weight) for name, weight in weights.items()}
        self._ratios = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        self._student = student
        self._are_known = False
        backend = keras.backend.backend()
        self._norms = importlib.import_module(f"tfqkd.fronts.keras3.norms_{backend}")
        self.variable = keras.Variable(
            np.full(len(self._ratios), _UNKNOWN, np.float32),
            trainable=False,
            autocast=False,
            # Every replica assigns the same.
            aggregation="only_first_replica",
            name="balances",
        )

    def __bool__(self) -> bool:
        return bool(self._ratios)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the balanced losses."""
        return tuple(self._ratios)

    @property
    def weights(self) -> dict[str, Any]:
        """What is found, or 0, by the name of the loss; in a step too."""
        found = _ops.maximum(self.variable.value, 0.0)
        return {name: found[index] for index, name in enumerate(self._ratios)}

    def look_again(self) -> None:
        """Takes none for known until a step has looked: a state may have been read."""
        self._are_known = False

    def before_step(self, distiller: Any, *arguments: Any) -> tuple[Any, ...]:
        """Finds what is not known yet; in a graph.

        Args:
            distiller: Whose step it is.
            *arguments: Of the step: a batch, and on JAX the state before it.

        Returns:
            The arguments, on JAX with the weights in the state.

        Raises:
            ValueError: If several replicas synchronize the student's batch norm; as the step is traced.
        """
        if self._are_known:
            return arguments
        self._require_apart(distiller)
        *state, data = arguments
        held = _held(distiller, *state)
        scales = {id(variable) for variable in quantizer_variables(self._student)}
        trained = [each for each in self._student.trainable_variables if id(each) not in scales]
        with keras.StatelessScope(held):
            known = self.variable.value
            values = [each.value for each in trained]

        def losses(values: Sequence[Any]) -> Any:
            mapping = [*held, *zip(trained, values, strict=True)]
            with keras.StatelessScope(mapping), torch_draws_kept():
                means = distiller.losses_apart(data)
                return _ops.stack([means[name] for name in ("hard_loss", *self._ratios)])

        squares = self._norms.squares(losses, values, known)
        if squares is None:
            self._are_known = True
            return arguments
        found = self._found(known, squares)
        if not state:
            self.variable.assign(found)
            return arguments
        trainable, others, *rest = state[0]
        are_mine = [variable is self.variable for variable in distiller.non_trainable_variables]
        others = [found if mine else value for mine, value in zip(are_mine, others, strict=True)]
        return (trainable, others, *rest), data

    def _require_apart(self, distiller: Any) -> None:
        replicas = replicas_of(distiller)
        norms = batch_norms(self._student).values()
        if replicas > 1 and any(norm.synchronized for norm in norms):
            losses = ", ".join(self._ratios)
            raise ValueError(NOT_SYNCHRONIZED.format(losses=losses, replicas=replicas))

    def _found(self, known: Any, squares: Any) -> Any:
        ratios = _ops.convert_to_tensor(np.array([*self._ratios.values()], np.float32))
        hard, loss = squares[:, 0], squares[:, 1]
        found = ratios * _ops.sqrt(_ops.divide_no_nan(hard, loss))
        return _ops.where(_ops.logical_and(known < 0, loss > 0), found, known)


def squares_of(hard: Sequence[Any], loss: Sequence[Any]) -> Any:
    """Returns the squared norms of two gradients `[2]`, over the weights that both reach.

    Args:
        hard: By each weight; None or zeros where it does not reach one.
        loss: Of the other loss.
    """
    both = zip(hard, loss, strict=True)
    pairs = [pair for pair in both if all(gradient is not None for gradient in pair)]
    if not pairs:
        return _ops.zeros((2,))
    sums = _ops.stack([_ops.stack(list(map(_square, side))) for side in zip(*pairs, strict=True)])
    reached = _ops.all(sums > 0, axis=0)
    return _ops.sum(_ops.where(reached, sums, 0.0), axis=1)


def _square(gradient: Any) -> Any:
    return _ops.sum(_ops.square(_ops.cast(gradient, "float32")))


def _held(distiller: Any, state: Any = None) -> list[tuple[keras.Variable, Any]]:
    """The variables whose values are in a state, with them: a step on JAX gets one."""
    if state is None:
        return []
    variables = [*distiller.trainable_variables, *distiller.non_trainable_variables]
    return list(zip(variables, [*state[0], *state[1]], strict=True))
