"""What a `Distiller` holds apart from its student."""

import keras

from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import AUTO
from tfqkd.core.weights import Weight
from tfqkd.fronts.keras3.balance import Balances
from tfqkd.fronts.keras3.blend import Blend, Step
from tfqkd.fronts.keras3.hard_loss import CalledLoss
from tfqkd.fronts.keras3.scheduled import Schedules
from tfqkd.fronts.keras3.soft_targets import SoftTargets
from tfqkd.fronts.keras3.soft_term import SoftTerm
from tfqkd.fronts.keras3.step_terms import StepTerms


class Outside:
    """What Keras must neither track nor save: it is no layer, no list and no dict."""

    targets: SoftTargets
    terms: StepTerms
    step: Step
    schedules: Schedules
    balances: Balances
    evaluating = False
    task = AUTO
    soft_weight: Weight = 1.0
    soft_loss: SoftLoss | None = None
    blend: Blend | None = None

    def join(self, hard: CalledLoss, soft: SoftTerm | None) -> None:
        """Makes the loss of what was compiled."""
        self.blend = Blend(
            hard, soft, self.soft_weight, self.terms, self.schedules, self.balances, self.step
        )

    @property
    def kept(self) -> dict[str, keras.Variable]:
        """What belongs into a checkpoint besides networks and optimizer, by name."""
        draws = enumerate(self.terms.variables)
        found = {"balances": self.balances.variable} if self.balances else {}
        return found | {f"raised_{index}": variable for index, variable in draws}

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a step reads or assigns besides the model's own."""
        noted = [self.blend.notes.variable] if self.blend else []
        found = [self.balances.variable] if self.balances else []
        draws = self.terms.variables
        return [*self.targets.variables, *self.schedules.variables, *noted, *found, *draws]
