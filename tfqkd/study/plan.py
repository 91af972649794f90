"""The plan of a study: recipe, space, sampler and seeds. Pure Python: checked before anything loads."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tfqkd.recipe.models import NO_TEACHER
from tfqkd.recipe.recipe import QUANTIZED, TEACHER, Recipe
from tfqkd.recipe.renamed import RENAMED
from tfqkd.recipe.run import AUTO_PRECISION
from tfqkd.study.space import ARM, Listed, Space, parse_space

SAMPLERS = ("grid", "random", "tpe")
PRUNERS = ("none", "hyperband")

TEACHER_FIELDS = (
    TEACHER,
    *(name for name in Recipe.settings() if name.startswith("teacher.training.")),
    "temperature",
    "distil.soft_loss",
    "distil.soft_weight",
    "distil.dkd_beta",
    "distil.scale_by_temperature_squared",
)
"""What matters only with a teacher: the control is the same for all their values."""
NOT_OF_CONTROLS = (*TEACHER_FIELDS, ARM)
"""What a control does not have: beside arms there is one, of what they share."""
CONTROL = {"distil.soft_loss": "none"}
"""What makes a recipe its control: the teacher's term is off, the hard loss keeps its schedule."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study is.

    Attributes:
        recipe: What all trials share; its seed is the first one.
        space: What varies.
        sampler: `grid` tries all settings; `random` and `tpe` draw `trials` of them.
        trials: Settings to draw, besides the controls; 0 for a grid.
        repeats: Seeds of each trial, upwards from the recipe's.
        pruner: `none`, or `hyperband`: gives up trials whose first seed does badly.

    Raises:
        ValueError: If they contradict each other.
    """

    recipe: Recipe
    space: Space
    sampler: str
    trials: int
    repeats: int
    pruner: str

    def __post_init__(self) -> None:
        # Trials are measured, not exported; the best recipe gets its formats back.
        self._check_sampler()
        self._check_strategy()
        self._check_precision()
        self._check_measurable()
        self._check_pruner()
        self._check_teacher()
        self.space.check(self.recipe.changed(formats=()))

    @property
    def seeds(self) -> range:
        """The seeds of every trial."""
        return range(self.recipe.run.seed, self.recipe.run.seed + self.repeats)

    @property
    def epochs(self) -> tuple[int, int]:
        """The fewest and the most epochs that a trial trains the quantized student."""
        recipes = [self.space.apply(self.recipe, corner) for corner in self.space.corners()]
        all_epochs = [recipe.training_of(QUANTIZED).epochs for recipe in recipes]
        return min(all_epochs), max(all_epochs)

    def trial_recipe(self, settings: Mapping[str, Any], control: bool, seed: int) -> Recipe:
        """Returns the recipe of a trial at one seed: without exports."""
        extra = CONTROL if control else {}
        return self.space.apply(self.recipe, {**settings, **extra, "seed": seed, "formats": ()})

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yields all settings of a grid."""
        return self.space.corners()

    def controls(self) -> list[dict[str, Any]]:
        """Returns the settings of the controls: one for all listed values that matter without a teacher.

        A field with a range keeps the recipe's own value.
        """
        axes = [axis for axis in self.space.listed if axis.field not in NOT_OF_CONTROLS]
        fields = [axis.field for axis in axes]
        rows = itertools.product(*(axis.values for axis in axes))
        return [dict(zip(fields, values, strict=True)) for values in rows]

    def control_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings of the control that a trial is compared with."""
        return {
            axis.field: settings[axis.field]
            for axis in self.space.listed
            if axis.field not in NOT_OF_CONTROLS
        }

    def to_json(self) -> str:
        """Returns the plan as JSON, for the storage and for readers."""
        return json.dumps(self._values(), indent=2) + "\n"

    def differences(self, text: str, finished: bool = False) -> dict[str, tuple[Any, Any]]:
        """Returns where another plan, as `to_json` wrote it, differs: name to (there, here).

        Where data are and how they are computed differs from machine to machine and is left out.

        Args:
            text: The other plan.
            finished: Whether it is only to be looked at, so that it may have old names.

        Raises:
            ValueError: If it has old names, and is not only to be looked at.
        """
        there, here = json.loads(text), json.loads(self.to_json())
        recipe = Recipe.from_json(json.dumps(there.pop("recipe")), finished=finished)
        recipes = recipe.differences(self.recipe)
        here.pop("recipe")
        # A field that has another name now, or a value another text, is the same one.
        there["space"] = [str(axis) for axis in parse_space(map(_renamed, there["space"])).axes]
        others = {name: (there.get(name), here[name]) for name in here}
        return {
            **{name: pair for name, pair in recipes.items() if name != "formats"},
            **{name: pair for name, pair in others.items() if pair[0] != pair[1]},
        }

    def _values(self) -> dict[str, Any]:
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        space = [str(axis) for axis in self.space.axes]
        return {**parts, "recipe": json.loads(self.recipe.to_json()), "space": space}

    def _check_sampler(self) -> None:
        if self.sampler == "grid":
            for axis in self.space.axes:
                if not isinstance(axis, Listed):
                    raise ValueError(
                        "A grid needs listed values. Received: --sampler=grid with the range "
                        f"{axis}. List values, or set --sampler=random or tpe with --trials."
                    )
            if self.trials:
                raise ValueError(
                    "A grid tries every setting once. Received: --sampler=grid with "
                    f"--trials={self.trials}. Leave --trials out, or set --sampler=random or tpe."
                )
        elif self.trials < 1:
            raise ValueError(
                f"The sampler {self.sampler} must know how many settings to draw. "
                f"Received: trials={self.trials}. Set --trials."
            )

    def _check_strategy(self) -> None:
        if self.recipe.run.strategy == "multi_worker":
            raise ValueError(
                "The workers of a study train trials of their own; those of a cluster train one run "
                "together. Received: a study with --run.strategy=multi_worker. Leave --run.strategy out, and "
                "start the same command on every machine."
            )

    def _check_precision(self) -> None:
        if self.recipe.run.mixed_precision == AUTO_PRECISION:
            raise ValueError(
                "All trials of a study must compute in one precision, whatever machine they run on. "
                "Received: --run.mixed_precision=auto. "
                "Name one, such as --run.mixed_precision=mixed_bfloat16."
            )

    def _check_measurable(self) -> None:
        if not self.recipe.data.validation_split:
            raise ValueError(
                "A study must hold back images to compare its trials on. "
                "Received: data.validation_split=0. Set --data.validation_split=0.1; the test images are "
                "measured too, but never used to choose."
            )
        fewest, _ = self.epochs
        if fewest < 1:
            raise ValueError(
                "A trial must train for an epoch to be measured. "
                f"Received: quantized.training.epochs={fewest}. Set --quantized.training.epochs=1 or more."
            )

    def _check_pruner(self) -> None:
        fewest, _ = self.epochs
        if self.pruner != "none" and fewest < 2:
            raise ValueError(
                "A pruner gives trials up between epochs. "
                f"Received: --pruner={self.pruner} with quantized.training.epochs={fewest}. "
                "Set --quantized.training.epochs=2 or more, or leave --pruner out."
            )

    def _check_teacher(self) -> None:
        idle = [field for field in self.space.fields if field in TEACHER_FIELDS]
        if idle and TEACHER not in idle and self.recipe.teacher.network == NO_TEACHER:
            raise ValueError(
                f"Without a teacher `{idle[0]}` changes nothing. Received: --vary={idle[0]}=... "
                "with teacher=none. Set --teacher."
            )


def _renamed(axis: str) -> str:
    """An axis as text, by the name that its field has now."""
    field, equals, values = axis.partition("=")
    return f"{RENAMED.get(field, field)}{equals}{values}"
