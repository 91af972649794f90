"""A second pass of the student, whose quantized activations have more bits at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.fronts.terms import Raised
from tfqkd.fronts.tfmot.activations import second_pass
from tfqkd.fronts.tfmot.model import quantized_activations


class RaisedPass:
    """What a student says with activations of more bits; see `tfqkd.fronts.terms.Raised`.

    Args:
        settings: Which bits, how often.
        student: A model with quantized activations.
    """

    def __init__(self, settings: Raised, student: keras.Model) -> None:
        self._settings, self._student = settings, student
        found = list(quantized_activations(student))
        self._indices = {id(each.learned): index for index, each in enumerate(found)}
        self._bits = [max(settings.bits, each.quantizer.bits) for each in found]

    def __call__(self, inputs: Any, step: tf.Tensor) -> tf.Tensor:
        """Returns the student's outputs, float32, without a gradient.

        Args:
            inputs: Of a batch.
            step: Number of the training step, which the draw is a function of.
        """
        # By seed and step alone: all replicas draw the same, and so does a training that goes on.
        seed = tf.stack([tf.constant(self._settings.seed, tf.int64), tf.cast(step, tf.int64)])
        drawn = tf.random.stateless_uniform([len(self._bits)], seed, alg="philox")
        are_raised = drawn < self._settings.probability

        def draw(learned: tf.Variable) -> tuple[int, tf.Tensor]:
            index = self._indices[id(learned)]
            return self._bits[index], are_raised[index]

        token = second_pass.set(draw)
        try:
            with _nothing_moved(self._student):
                outputs = self._student(inputs, training=True)
        finally:
            second_pass.reset(token)
        return tf.stop_gradient(tf.cast(outputs, tf.float32))


@contextmanager
def _nothing_moved(model: keras.Model) -> Iterator[None]:
    """Puts back what a pass of training moves by itself: averages, and the states of random layers."""
    moving = [
        variable
        for variable in model.non_trainable_variables
        if variable.synchronization == tf.VariableSynchronization.ON_READ
    ]
    moving += [generator.state for generator in random_states(model)]
    before = [tf.identity(variable) for variable in moving]
    yield
    for variable, value in zip(moving, before, strict=True):
        variable.assign(value)


def random_states(model: keras.Model) -> list[tf.random.Generator]:
    """Returns the generators of dropout and noise, which Keras leaves out of a model's checkpoint."""
    owned = [getattr(module, "_random_generator", None) for module in model.submodules]
    found = [getattr(owner, "_generator", None) for owner in owned]
    return [generator for generator in found if isinstance(generator, tf.random.Generator)]
