"""A second pass of the student, whose quantized activations have more bits at random."""

from collections.abc import Callable
from typing import Any

import keras

from tfqkd.fronts.keras3.model import quantized_activations
from tfqkd.fronts.keras3.quantizer_state import second_pass
from tfqkd.fronts.keras3.teachers import without_gradient
from tfqkd.fronts.keras3.torch_draws import torch_draws_kept
from tfqkd.fronts.terms import Raised

_ops = keras.ops


class RaisedPass:
    """What a student says with activations of more bits; see `tfqkd.fronts.terms.Raised`.

    Attributes:
        state: Seed and number of the next draw, on all replicas alike; for checkpoints.

    Args:
        settings: Which bits, how often.
        student: A model with quantized activations.
    """

    def __init__(self, settings: Raised, student: keras.Model) -> None:
        self._settings, self._student = settings, student
        found = list(quantized_activations(student))
        self._indices = {id(each.learned): index for index, each in enumerate(found)}
        self._bits = [max(settings.bits, each.quantizer.bits) for each in found]
        self._seed = keras.random.SeedGenerator(settings.seed)
        self.state = self._seed.state
        self._within = _Within(self._said)

    def __call__(self, inputs: Any) -> Any:
        """Returns the student's outputs, float32, without a gradient, and moves nothing but its own state.

        Args:
            inputs: Of a batch.
        """
        return self._within(inputs)

    def _said(self, inputs: Any) -> Any:
        drawn = keras.random.uniform((len(self._bits),), seed=self._seed, dtype="float32")
        are_raised = drawn < self._settings.probability

        def draw(learned: keras.Variable) -> tuple[int, Any]:
            index = self._indices[id(learned)]
            return self._bits[index], are_raised[index]

        # What is assigned in a scope, and the losses of layers, end with it.
        held = [(variable, variable.value) for variable in self._student.variables]
        token = second_pass.set(draw)
        try:
            with keras.StatelessScope(held), torch_draws_kept(), without_gradient():
                outputs = self._student(inputs, training=True)
        finally:
            second_pass.reset(token)
        return _ops.stop_gradient(_ops.cast(outputs, "float32"))


class _Within(keras.layers.Layer):
    """Calls a function as a part of its own call.

    A model that is called by itself forgets the losses that its layers added in the call before, and the
    first pass of the student is still to be paid for.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__(dtype="float32", autocast=False)
        self._function = function
        self.built = True

    def call(self, inputs: Any) -> Any:
        return self._function(inputs)
