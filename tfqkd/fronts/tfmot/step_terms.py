"""The terms of a `Distiller` of tf_keras: weights that follow schedules, and the losses of a step."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.fronts import step_terms
from tfqkd.fronts.terms import Raised, Term
from tfqkd.fronts.tfmot.means import mean
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.scheduled import ScheduledVariable
from tfqkd.fronts.tfmot.second_pass import RaisedPass
from tfqkd.fronts.tfmot.taps import tapped


class Tapped(step_terms.Tapped):
    """A network of tf_keras whose call also gives the outputs of some of its layers."""

    ops = OPS

    def _tapped(self, network: Any, role: str) -> keras.Model:
        return tapped(network, self.names, role)


class StepTerms(step_terms.StepTerms):
    """See `tfqkd.fronts.step_terms.StepTerms`.

    Attributes:
        weights: What drives the weight of each term, by the name of the setting.
    """

    ops = OPS
    tapped = Tapped
    second_pass = RaisedPass

    def __init__(self, terms: Sequence[Term], student: keras.Model, teacher: object) -> None:
        super().__init__(terms, student, teacher)
        self.weights = {
            f"{term.name}_weight": ScheduledVariable(f"{term.name}_weight", term.factor)
            for term in terms
        }

    def raised(self, inputs: Any, step: tf.Tensor) -> dict[Raised, tf.Tensor]:
        """Returns the student's outputs in each second pass of a training step."""
        return {settings: again(inputs, step) for settings, again in self._raised.items()}

    @property
    def penalties(self) -> list[tf.Tensor]:
        """The regularisers of the networks that train beside the student."""
        return [loss for network in self.networks for loss in network.losses]

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those of the networks that train beside the student."""
        return [variable for network in self.networks for variable in network.trainable_variables]

    def _mean(self, values: tf.Tensor) -> tf.Tensor:
        return mean(values)
