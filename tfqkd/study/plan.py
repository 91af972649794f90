"""The plan of a study: recipe, space, sampler and seeds. Pure Python: checked before anything loads."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tfqkd.study.space import Listed, Space, apply
from tfqkd.training.recipe import Recipe
from tfqkd.training.settings import AUTO_PRECISION, NO_TEACHER, TEACHER

SAMPLERS = ("grid", "random", "tpe")
PRUNERS = ("none", "hyperband")

TEACHER_FIELDS = (
    TEACHER,
    "teacher_epochs",
    "temperature",
    "soft_loss",
    "soft_weight",
    "dkd_beta",
    "scale_by_temperature_squared",
)
"""What matters only with a teacher: the control is the same for all their values."""
CONTROL = {"soft_loss": "none"}
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
        self.space.check(dataclasses.replace(self.recipe, formats=()))

    @property
    def seeds(self) -> range:
        """The seeds of every trial."""
        return range(self.recipe.seed, self.recipe.seed + self.repeats)

    @property
    def epochs(self) -> tuple[int, int]:
        """The fewest and the most epochs that a trial trains the quantized student."""
        all_epochs = [apply(self.recipe, c).quantized_epochs for c in self.space.corners()]
        return min(all_epochs), max(all_epochs)

    def trial_recipe(self, settings: Mapping[str, Any], control: bool, seed: int) -> Recipe:
        """Returns the recipe of a trial at one seed: without exports."""
        extra = CONTROL if control else {}
        return apply(self.recipe, {**settings, **extra, "seed": seed, "formats": ()})

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yields all settings of a grid."""
        return self.space.corners()

    def controls(self) -> list[dict[str, Any]]:
        """Returns the settings of the controls: one for all listed values that matter without a teacher.

        A field with a range keeps the recipe's own value.
        """
        axes = [axis for axis in self.space.listed if axis.field not in TEACHER_FIELDS]
        return [
            dict(zip((axis.field for axis in axes), values, strict=True))
            for values in itertools.product(*(axis.values for axis in axes))
        ]

    def control_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings of the control that a trial is compared with."""
        return {
            axis.field: settings[axis.field]
            for axis in self.space.listed
            if axis.field not in TEACHER_FIELDS
        }

    def to_json(self) -> str:
        """Returns the plan as JSON, for the storage and for readers."""
        return json.dumps(self._values(), indent=2) + "\n"

    def differences(self, text: str) -> dict[str, tuple[Any, Any]]:
        """Returns where another plan, as `to_json` wrote it, differs: name to (there, here).

        Where data lie and how they are computed differs from machine to machine and is left out.
        """
        there, here = json.loads(text), json.loads(self.to_json())
        recipes = Recipe.from_json(json.dumps(there.pop("recipe"))).differences(self.recipe)
        here.pop("recipe")
        others = {name: (there.get(name), here[name]) for name in here}
        return {
            **{name: pair for name, pair in recipes.items() if name != "formats"},
            **{name: pair for name, pair in others.items() if pair[0] != pair[1]},
        }

    def _values(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "space": [str(axis) for axis in self.space.axes]}

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
        if self.recipe.strategy == "multi_worker":
            raise ValueError(
                "The workers of a study train trials of their own; those of a cluster train one run "
                "together. Received: a study with --strategy=multi_worker. Leave --strategy out, and start "
                "the same command on every machine."
            )

    def _check_precision(self) -> None:
        if self.recipe.mixed_precision == AUTO_PRECISION:
            raise ValueError(
                "All trials of a study must compute in one precision, whatever machine they run on. "
                "Received: --mixed_precision=auto. Name one, such as --mixed_precision=mixed_bfloat16."
            )

    def _check_measurable(self) -> None:
        if not self.recipe.validation_split:
            raise ValueError(
                "A study must hold back images to compare its trials on. "
                "Received: validation_split=0. Set --validation_split=0.1; the test images are "
                "measured too, but never used to choose."
            )
        fewest, _ = self.epochs
        if fewest < 1:
            raise ValueError(
                "A trial must train for an epoch to be measured. "
                f"Received: quantized_epochs={fewest}. Set --quantized_epochs=1 or more."
            )

    def _check_pruner(self) -> None:
        fewest, _ = self.epochs
        if self.pruner != "none" and fewest < 2:
            raise ValueError(
                "A pruner gives trials up between epochs. "
                f"Received: --pruner={self.pruner} with quantized_epochs={fewest}. "
                "Set --quantized_epochs=2 or more, or leave --pruner out."
            )

    def _check_teacher(self) -> None:
        idle = [field for field in self.space.fields if field in TEACHER_FIELDS]
        if idle and TEACHER not in idle and self.recipe.teacher == NO_TEACHER:
            raise ValueError(
                f"Without a teacher `{idle[0]}` changes nothing. Received: --vary={idle[0]}=... "
                "with teacher=none. Set --teacher."
            )
