"""Presets: what a run is made of, as stages. The last of them is the run's student, which is exported."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

from tfqkd.core.schedules import Constant
from tfqkd.core.views import folded
from tfqkd.fronts.settings import Distillation
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.plans import (
    assistant_of,
    distillation_of,
    kind_of,
    progressive_of,
    quantized_of,
    require_annealed,
    student_of,
    teachers_of,
    with_seed,
)
from tfqkd.training.quantization import float_quantization_of
from tfqkd.training.stage import STUDENT, Source, Stage


class Preset(Protocol):
    """A frozen dataclass that makes stages of a recipe."""

    def __call__(self, recipe: Recipe) -> tuple[Source, ...]:
        """Returns the stages; the last is a `Stage`."""


@dataclasses.dataclass(frozen=True)
class Paper:
    """Teacher, float student and quantized student (arXiv 1909.01688).

    Where the recipe asks for progressive distillation, its stages stand in the float student's place, and the
    quantized one is the last of the four (after the abstract of arXiv 2106.02241).
    """

    def __call__(self, recipe: Recipe) -> tuple[Source, ...]:
        """Returns the stages."""
        teachers = teachers_of(recipe)
        before: tuple[Source, ...] = progressive_of(recipe, teachers)
        if not before:
            before = (student_of(recipe, teachers, distillation_of(recipe, STUDENT)),)
        return (*teachers, *before, quantized_of(recipe, before[-1], teachers))


PAPER = Paper()


@dataclasses.dataclass(frozen=True)
class Chain:
    """The paper's job with teacher assistants (arXiv 1902.03393): each is taught by the one before.

    Attributes:
        assistants: Their architectures or paths, from the teacher to the student.
    """

    assistants: tuple[str, ...]

    def __call__(self, recipe: Recipe) -> tuple[Source, ...]:
        """Returns the stages.

        Raises:
            ValueError: If the recipe has no teacher.
        """
        teachers = found = teachers_of(recipe)
        if not teachers:
            raise ValueError(
                "Assistants must have a teacher to learn from. "
                f"Received: {', '.join(self.assistants)} without one. Set --teacher."
            )
        for number, network in enumerate(self.assistants, start=1):
            teachers = (assistant_of(recipe, network, number, teachers),)
            found += teachers
        student = student_of(recipe, teachers, distillation_of(recipe, STUDENT))
        return (*found, student, quantized_of(recipe, student, teachers))


@dataclasses.dataclass(frozen=True)
class BornAgain:
    """The paper's job again and again: each student is taught by the one before (arXiv 1805.04770).

    All begin from the same float student; the teachers of the recipe teach the first alone. There the
    networks are float and begin from random weights; here what is born again is quantized.

    Attributes:
        generations: How many quantized students are trained, 2 or more; the last one is exported.
    """

    generations: int

    def __call__(self, recipe: Recipe) -> tuple[Source, ...]:
        """Returns the stages.

        Raises:
            ValueError: If there is but one generation, or the recipe has no teacher in its loss.
        """
        if self.generations < 2 or not recipe.has_teacher:
            raise ValueError(
                "There must be 2 or more generations of students, and the first must learn from a "
                f"teacher. Received: {self.generations} with teacher={recipe.teacher.network}, "
                f"distil.soft_loss={recipe.distil.soft_loss}. Set --teacher, to the student's network as "
                "in the paper, or another."
            )
        *before, stage = PAPER(recipe)
        assert isinstance(stage, Stage)
        found: list[Source] = [*before]
        for number in range(1, self.generations + 1):
            stage = dataclasses.replace(stage, label=f"{recipe.title}, generation {number}")
            found.append(stage)
            # Weights, order and views of its own.
            seed = folded(recipe.run.seed, 4, number)
            training = dataclasses.replace(stage.training, seed=seed)
            stage = dataclasses.replace(stage, training=training, teachers=(stage,))
        return tuple(found)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The paper's job beside the same without a teacher and with a fixed coefficient, at several seeds.

    The fixed coefficient is the mean of the schedule's two ends, so that both weigh the soft loss alike over
    the whole training.

    Attributes:
        controls: Whether two more show what is not the teacher's doing: the float student trained on for
            the same epochs, and the quantized one with its annealed (1-λ)·hard alone.
        repeats: Number of seeds, from the recipe's upwards.
    """

    controls: bool = False
    repeats: int = 1

    def __call__(self, recipe: Recipe) -> tuple[Source, ...]:
        """Returns the stages.

        Raises:
            ValueError: If the recipe has no teacher or no annealed coefficient to compare.
        """
        require_annealed(recipe)
        if recipe.progressive.epochs:
            raise ValueError(
                "A comparison trains one float student. Received: "
                f"progressive.epochs={recipe.progressive.epochs}. Compare runs of their own, with and "
                "without them."
            )
        first = recipe.run.seed
        # The student of the recipe itself comes last.
        seeds = (*range(first + 1, first + self.repeats), first)
        found = [stage for seed in seeds for stage in self._of_seed(with_seed(recipe, seed))]
        return tuple(stage for index, stage in enumerate(found) if stage not in found[:index])

    def _of_seed(self, recipe: Recipe) -> Iterator[Source]:
        *teachers, student, annealed = PAPER(recipe)
        weighed = distillation_of(recipe)
        assert weighed is not None
        kind, schedule = kind_of(recipe), weighed.coefficient
        untaught = student_of(recipe)
        alone = dataclasses.replace(
            quantized_of(recipe, untaught, ()), label=f"{kind}, no teacher", distillation=None
        )
        yield from (*teachers, student)
        if self.controls and not recipe.quantize.is_float:
            # Where the recipe itself is float, its row without a teacher is this control.
            held = float_quantization_of(recipe)
            yield dataclasses.replace(alone, label="float, no teacher", quantization=held)
        yield alone
        if self.controls:
            off = Distillation(
                coefficient=schedule, coefficient_on=weighed.coefficient_on, soft_loss="none"
            )
            yield dataclasses.replace(alone, label=f"{kind}, teacher's term off", distillation=off)
        fixed = dataclasses.replace(
            weighed,
            coefficient=Constant((schedule(0.0) + schedule(1.0)) / 2),
            coefficient_on=None,
        )
        yield dataclasses.replace(
            quantized_of(recipe, student_of(recipe, teachers, fixed), teachers),
            label=f"{kind}, teacher, fixed coefficient",
            distillation=fixed,
        )
        yield dataclasses.replace(annealed, label=f"{kind}, teacher, annealed coefficient")


def student_stage(stages: Sequence[Source]) -> Stage:
    """Returns the stage that a run is for."""
    last = stages[-1]
    assert isinstance(last, Stage)
    return last
