"""What a method is: frozen settings, and hooks around the training of a stage.

A hook that a method does not write does nothing. Nothing of a method runs on the host at a step: terms are in
the graph, and the hooks of epochs read and assign variables.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from tfqkd.fronts.front import Front, Model
from tfqkd.fronts.settings import Fitting, Quantization
from tfqkd.fronts.terms import Network, Term
from tfqkd.fronts.view import View


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """Settings of a method; a subclass adds its fields, and the hooks that it needs.

    Attributes:
        name: By which settings and messages call it.
        needs: The capabilities of a front that it needs: those of `tfqkd.fronts.settings.METHOD_NEEDS`.
        excludes: Names of methods that cannot be in the same stage.
        asks_teacher: Whether its terms read the teacher, who is then there whatever the soft loss is.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    excludes: ClassVar[frozenset[str]] = frozenset()
    asks_teacher: ClassVar[bool] = False

    @property
    def own_needs(self) -> frozenset[str]:
        """What it needs with these settings: a balanced weight asks more of a front."""
        weight = getattr(self, "weight", 0.0)
        return self.needs | ({"balanced"} if isinstance(weight, str) else frozenset())

    def key(self) -> dict[str, Any]:
        """Returns the settings as JSON holds them: what the method does depends on nothing else."""
        return {"method": self.name, **dataclasses.asdict(self)}

    def model(self, front: Front, model: Model) -> Model:
        """Returns the float network that the stage begins from, before it is quantized."""
        del front
        return model

    def fitting(self, fitting: Fitting) -> Fitting:
        """Returns how the stage trains under the method."""
        return fitting

    def quantization(self, quantization: Quantization) -> Quantization:
        """Returns how the student is quantized under the method."""
        return quantization

    def terms(self, student: Network, teachers: Sequence[Network]) -> Sequence[Term]:
        """Returns what the method adds to the loss; called once, before the training."""
        del student, teachers
        return ()

    def prepare(self, view: View) -> None:
        """Adds variables; called before a checkpoint is read."""

    def epoch_end(self, view: View, epoch: int) -> None:
        """Called after an epoch, counted from 0, and its validation; before its checkpoint."""

    def finish(self, view: View) -> None:
        """Called once after the last epoch; the model that it leaves is the one that is kept."""


def require_together(methods: Sequence[Method]) -> None:
    """Raises ValueError if methods of one stage exclude each other, or one is named twice."""
    names = [method.name for method in methods]
    for method in methods:
        both = sorted(method.excludes & set(names))
        if both:
            raise ValueError(
                f"`methods` must go together. Received: {method.name} with {both[0]}. Leave one out."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"`methods` must differ. Received: {','.join(names)}. Name each once.")
