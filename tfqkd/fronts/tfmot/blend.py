"""The loss of a `Distiller`'s step: hard, soft and terms, each with the weight that it has at the step."""

from collections.abc import Mapping

from tfqkd.compat import keras, tf
from tfqkd.core.weights import Weight
from tfqkd.fronts.tfmot.balance import Balances
from tfqkd.fronts.tfmot.scheduled import ScheduledVariable
from tfqkd.fronts.tfmot.step_terms import StepTerms

_SOFT = "soft_loss"


class Blend:
    """`(1-λ)·hard + λ·soft + Σ terms`.

    Attributes:
        settings: What schedules drive, by name: coefficient, temperature, and the weights of terms.
        balances: The weights that are found by gradients.

    Args:
        coefficient: The first λ.
        temperature: The first T.
        soft_weight: Of the soft loss besides λ.
        terms: What methods add.
    """

    def __init__(
        self, coefficient: float, temperature: float, soft_weight: Weight, terms: StepTerms
    ) -> None:
        self.settings = {
            "coefficient": ScheduledVariable("coefficient", coefficient),
            "temperature": ScheduledVariable("temperature", temperature),
            **terms.weights,
        }
        self._soft_weight = soft_weight
        weights = {_SOFT: soft_weight, **{term.name: term.weight for term in terms.terms}}
        self.balances = Balances(weights)

    def advance(self, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Sets the settings for a step and returns their values; in a graph."""
        return {name: each.advance(step) for name, each in self.settings.items()}

    def hold(self) -> None:
        """Keeps the settings as they are until they are assigned or a schedule drives them again."""
        for each in self.settings.values():
            each.hold()

    def of(
        self,
        hard: tf.Tensor,
        soft: list[tf.Tensor],
        terms: Mapping[str, tf.Tensor],
        settings: Mapping[str, tf.Tensor],
        balanced: Mapping[str, tf.Tensor],
    ) -> tf.Tensor:
        """Returns the blend of means over a replica's examples.

        Args:
            hard: The hard loss.
            soft: The soft loss first; none where no teacher is asked.
            terms: By name.
            settings: What `advance` returned.
            balanced: What `found` returned.
        """
        coefficient = settings["coefficient"]
        total = (1 - coefficient) * hard
        if soft:
            total += coefficient * balanced.get(_SOFT, self._soft_weight) * soft[0]
        for name, value in terms.items():
            weight = settings[f"{name}_weight"]
            total += (balanced[name] * weight if name in balanced else weight) * value
        return total

    def found(
        self,
        tape: tf.GradientTape,
        hard: tf.Tensor,
        soft: list[tf.Tensor],
        terms: Mapping[str, tf.Tensor],
        student: keras.Model,
    ) -> dict[str, tf.Tensor]:
        """Returns the weights that gradients find, by the name of the loss; see `Balances.find`."""
        return self.balances.find(tape, hard, {_SOFT: soft, **terms}, student)
