"""The soft terms of a student's outputs: one for each, weighed together as their hard losses are."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfqkd.compat import tf
from tfqkd.core.soft_loss import SoftLoss
from tfqkd.core.tasks import Task
from tfqkd.fronts.tfmot.means import mean
from tfqkd.fronts.tfmot.soft_term import SoftTerm, masked


@dataclasses.dataclass(frozen=True)
class SoftTerms:
    """What teacher and student are compared by, output by output.

    Attributes:
        terms: One for each output; None for one without a loss, which nothing tells what it is.
        names: Of the outputs.
        weights: What Keras multiplies the loss of each output with; None for 1.
    """

    terms: Sequence[SoftTerm | None]
    names: Sequence[str]
    weights: Sequence[float | None]

    @classmethod
    def of(
        cls,
        tasks: Sequence[Task | None],
        loss: SoftLoss,
        names: Sequence[str],
        shapes: Sequence[Any],
        weights: Sequence[float | None],
    ) -> "SoftTerms":
        """Returns the terms of outputs that are compared by one soft loss.

        Raises:
            ValueError: If the soft loss does not take outputs of a task or shape.
        """
        terms = [None if task is None else SoftTerm(task, loss) for task in tasks]
        for term, shape in zip(terms, shapes, strict=True):
            if term is not None:
                term.require_shape(shape)
        return cls(terms, names, weights)

    @property
    def logged(self) -> list[str]:
        """The names of what `means` and `agreements` return, in order."""
        return ["soft_loss", *self._names("soft_loss"), *self._names("agreement")]

    @property
    def tasks(self) -> list[Task | None]:
        """What the outputs are."""
        return [None if term is None else term.task for term in self.terms]

    @property
    def softens(self) -> bool:
        """Whether the temperature has a part in one of them."""
        return any(term is not None and term.task.softens for term in self.terms)

    def means(
        self,
        targets: Sequence[tf.Tensor],
        outputs: Sequence[tf.Tensor],
        labels: Sequence[Any],
        temperature: tf.Tensor,
        sample_weights: Sequence[Any],
    ) -> list[tf.Tensor]:
        """Returns the weighted sum of the terms, and behind it each where there are several.

        Args:
            targets: The teacher's outputs, float32.
            outputs: The student's.
            labels: Of each output.
            temperature: `T`.
            sample_weights: Of each output, or None.

        Raises:
            ValueError: As `SoftTerm.mean` does; as the step is traced.
        """
        found, total = [], None
        for index, term in enumerate(self.terms):
            if term is None:
                continue
            value = term.mean(
                targets[index], outputs[index], labels[index], temperature, sample_weights[index]
            )
            found.append(value)
            weight = self.weights[index]
            weighted = value if weight is None else weight * value
            total = weighted if total is None else total + weighted
        return [total, *(found if len(self.terms) > 1 else [])]

    def agreements(
        self, targets: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Returns the share of decisions in which both agree, of each output that decides something."""
        return [
            mean(masked(term.task.agreement(target, output), output))
            for term, target, output in zip(self.terms, targets, outputs, strict=True)
            if term is not None and term.task.agreement
        ]

    def _names(self, what: str) -> list[str]:
        several = len(self.terms) > 1
        if what == "soft_loss" and not several:
            return []
        return [
            f"{name}_{what}" if several else what
            for name, term in zip(self.names, self.terms, strict=True)
            if term is not None and (what == "soft_loss" or term.task.agreement)
        ]
