"""The terms of a `Distiller` of Keras 3: the losses of a step, and what second passes draw."""

from collections.abc import Sequence
from typing import Any

import keras

from tfqkd.fronts import step_terms
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.second_pass import RaisedPass
from tfqkd.fronts.keras3.taps import Tapped
from tfqkd.fronts.terms import Raised, Term


class StepTerms(step_terms.StepTerms):
    """See `tfqkd.fronts.step_terms.StepTerms`.

    Attributes:
        weights: The first weight of each term, by the name of the setting.
    """

    ops = OPS
    tapped = Tapped
    second_pass = RaisedPass

    def __init__(self, terms: Sequence[Term], student: keras.Model, teacher: object) -> None:
        super().__init__(terms, student, teacher)
        self.weights = {f"{term.name}_weight": term.factor for term in terms}

    @property
    def variables(self) -> list[Any]:
        """What second passes draw from; for checkpoints."""
        return [each.state for each in self._raised.values()]

    def raised(self, inputs: Any) -> dict[Raised, Any]:
        """Returns the student's outputs in each second pass; inside of another layer's call."""
        return {settings: again(inputs) for settings, again in self._raised.items()}

    def _mean(self, values: Any) -> Any:
        return keras.ops.mean(values)
