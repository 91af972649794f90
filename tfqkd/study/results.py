"""What a study has found so far, read from its storage: tables for the report."""

import dataclasses
from typing import Any

import pandas as pd

from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.renamed import RENAMED
from tfqkd.study import attributes
from tfqkd.study.plan import NOT_OF_CONTROLS, Plan
from tfqkd.study.queue import to_parameter
from tfqkd.study.space import ARM

ALWAYS = ("teacher", "temperature", "coefficient", "schedule")
"""Fields that the figures are about; where one does not vary, the recipe's value stands."""
_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
_MEASURED = (
    "validation_accuracy",
    "test_accuracy",
    "float_accuracy",
    "teacher_accuracy",
    "teacher_parameters",
    "teacher_entropy",
    "directory",
    "seconds",
)


@dataclasses.dataclass(frozen=True)
class StudyResults:
    """Finished trials of a study.

    Attributes:
        name: Of the study.
        plan: Of the study.
        runs: A row for each trial and seed: `trial`, `seed`, `control`, the varied fields and those of
            `ALWAYS` (a control has no teacher and no temperature), what was measured, and `gain`: validation
            accuracy less that of the control with the same seed and the same other settings; NaN where that
            control is not done.
        curves: By (trial, seed), the history of the quantized stage, a row an epoch.
        layers: By (trial, seed), the table of layers.
        counts: Number of trials by state.
        trials: As they are kept, by Optuna or as `LocalTrial`.
    """

    name: str
    plan: Plan
    runs: pd.DataFrame
    curves: dict[tuple[int, int], pd.DataFrame]
    layers: dict[tuple[int, int], pd.DataFrame]
    counts: dict[str, int]
    trials: tuple[Any, ...]

    @classmethod
    def read(cls, study: Any, plan: Plan) -> "StudyResults":
        """Reads what the trials of a study of Optuna's, or of a `LocalStudy`, have left."""
        trials = list(map(_by_names_of_now, study.get_trials()))
        done = [trial for trial in trials if trial.state.name == "COMPLETE"]
        rows, curves, layers = [], {}, {}
        for trial in done:
            for seed in plan.seeds:
                kept = trial.user_attrs[attributes.of_seed(seed)]
                rows.append(_row(trial, seed, kept, plan))
                curves[trial.number, seed] = pd.DataFrame(kept["curves"])
                layers[trial.number, seed] = pd.DataFrame(kept["layers"])
        counts = {
            state.lower(): sum(trial.state.name == state for trial in trials) for state in _STATES
        }
        runs = _in_order(_with_gain(pd.DataFrame(rows), plan), plan) if rows else pd.DataFrame()
        return cls(study.study_name, plan, runs, curves, layers, counts, tuple(done))

    @property
    def taught(self) -> pd.DataFrame:
        """The runs of trials that are no controls."""
        # Without the controls, which have none, temperatures are numbers again.
        return self.runs[~self.runs["control"]].infer_objects() if len(self.runs) else self.runs

    @property
    def controls(self) -> pd.DataFrame:
        """The runs of the controls."""
        return self.runs[self.runs["control"]] if len(self.runs) else self.runs

    def best(self) -> int | None:
        """Returns the number of the trial with the best mean validation accuracy; no control."""
        if not len(self.taught):
            return None
        means = self.taught.groupby("trial")["validation_accuracy"].mean()
        return int(means.idxmax())

    def settings(self, number: int) -> dict[str, Any]:
        """Returns the settings of a trial."""
        (trial,) = [trial for trial in self.trials if trial.number == number]
        return dict(trial.user_attrs[attributes.SETTINGS])

    def best_recipe(self) -> Recipe | None:
        """Returns the recipe of the best trial at the first seed, with the exports of the study's recipe."""
        number = self.best()
        if number is None:
            return None
        recipe = self.plan.trial_recipe(self.settings(number), False, self.plan.recipe.run.seed)
        return recipe.changed(formats=self.plan.recipe.export.formats)


def _by_names_of_now(trial: Any) -> Any:
    """Returns a trial, of an older study too, with the new names of its fields."""

    def renewed(values: dict[str, Any]) -> dict[str, Any]:
        return {RENAMED.get(name, name): value for name, value in values.items()}

    trial.params, trial.distributions = renewed(trial.params), renewed(trial.distributions)
    for name in (attributes.SETTINGS, attributes.CONTROL):
        if name in trial.user_attrs:
            trial.user_attrs[name] = renewed(trial.user_attrs[name])
    return trial


def _row(trial: Any, seed: int, kept: dict[str, Any], plan: Plan) -> dict[str, Any]:
    settings = trial.user_attrs[attributes.SETTINGS]
    control = attributes.CONTROL in trial.user_attrs
    recipe = plan.trial_recipe(settings, control, seed)
    values = {
        field: None if control and field in NOT_OF_CONTROLS else _value(recipe, settings, field)
        for field in dict.fromkeys([*plan.space.fields, *ALWAYS])
    }
    return {
        "trial": trial.number,
        "seed": seed,
        "control": control,
        **values,
        **{name: kept.get(name) for name in _MEASURED},
    }


def _value(recipe: Recipe, settings: dict[str, Any], field: str) -> Any:
    return settings[ARM] if field == ARM else to_parameter(recipe.value(field))


def _with_gain(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    fields = [*plan.control_of({axis.field: None for axis in plan.space.listed}), "seed"]
    controls = runs[runs["control"]].drop_duplicates(fields)[[*fields, "validation_accuracy"]]
    controls = controls.rename(columns={"validation_accuracy": "control_accuracy"})
    merged = runs.merge(controls, on=fields, how="left")
    merged["gain"] = merged["validation_accuracy"] - merged["control_accuracy"]
    return merged


def _in_order(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Rows in the order in which the plan lists its values, whatever order the trials were run in."""
    for axis in reversed(plan.space.listed):
        positions = {to_parameter(value): position for position, value in enumerate(axis.values)}
        # A control has no teacher to put in order: it comes last.
        order = runs[axis.field].map(positions).sort_values(kind="stable").index
        runs = runs.loc[order]
    return runs.reset_index(drop=True)
