"""The arms of a study beside each other: gain, its deviation over the seeds, and what an epoch costs."""

import math

import pandas as pd

from tfqkd.reporting.drawings import Drawing, new_figure
from tfqkd.reporting.page import PageTable
from tfqkd.reporting.style import COLOURS, INK, label
from tfqkd.study.results import StudyResults
from tfqkd.study.space import ARM

_CONTROL = "control"
_ACCURACIES = ("validation_accuracy", "test_accuracy")


def has_arms(results: StudyResults) -> bool:
    """Whether a study has arms, and one of them is done."""
    return ARM in results.plan.space.fields and len(results.taught) > 0


def compared(results: StudyResults) -> pd.DataFrame:
    """Returns a row for each arm, and one for the control, which is last.

    Returns:
        Columns: `arm`; mean and deviation over the seeds of `validation` and `test` accuracy, in per cent,
        and of the differences of test accuracy from the first arm and from the control at the same seed,
        `first` and `control`, in points; `seeds`; `cost`, the median time of an epoch over that of the first
        arm. Of a study that varies more the other fields are averaged within each seed.
    """
    runs = results.runs.copy()
    runs[ARM] = runs[ARM].where(~runs["control"], _CONTROL)
    seeds = runs.groupby([ARM, "seed"], sort=False)[[*_ACCURACIES, "seconds"]].mean()
    names = list(dict.fromkeys(runs[ARM]))
    first = _first(results)
    rows = []
    for name in names:
        own = seeds.loc[name]
        row = {"arm": name, "seeds": len(own)}
        for measured in _ACCURACIES:
            row |= _summed(measured.removesuffix("_accuracy"), 100 * own[measured])
        for of, other in (("first", first), ("control", _CONTROL)):
            gains = pd.Series(dtype=float)
            if other in names and other != name:
                gains = (own["test_accuracy"] - seeds.loc[other]["test_accuracy"]).dropna()
            row |= _summed(of, 100 * gains)
        base = seeds.loc[first]["seconds"].median() if first in names else math.nan
        rows.append({**row, "cost": own["seconds"].median() / base})
    return pd.DataFrame(rows)


def arms_table(results: StudyResults) -> PageTable:
    """Returns the table of the arms."""
    table = compared(results)
    first = _first(results)
    rows = [
        [
            row["arm"],
            _shown(row, "validation"),
            _shown(row, "test"),
            _shown(row, "first", "+"),
            _shown(row, "control", "+"),
            "" if pd.isna(row["cost"]) else f"{row['cost']:.2f}",
        ]
        for row in table.to_dict("records")
    ]
    return PageTable(
        "The arms",
        ["arm", "validation %", "test %", f"over {first}", "over the control", "epoch"],
        rows,
        "Mean ± standard deviation over the seeds; differences are of test accuracies at the same seed. "
        f"Epoch: its median time over that of {first}, whatever else the machine had to do.",
        (0,),
    )


def arms_figure(results: StudyResults) -> Drawing:
    """Draws the gain of each arm over the first one."""
    table = compared(results).dropna(subset=["first"])
    first = _first(results)
    figure = new_figure(10, 0.35 * len(table) + 1.2)
    axes = figure.subplots()
    heights = range(len(table))
    axes.errorbar(
        table["first"],
        heights,
        xerr=table["first_deviation"].fillna(0.0),
        fmt="o",
        color=COLOURS[0],
        capsize=3,
    )
    axes.set_yticks(heights, list(table["arm"]))
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=1, linestyle="--")
    label(axes, "", f"test accuracy over that of {first} (points)", "")
    return Drawing(
        "arms",
        "Gain of each arm",
        f"Difference from {first} at the same seed: mean and standard deviation over the seeds.",
        figure,
        table,
    )


def arms_findings(results: StudyResults) -> list[str]:
    """Returns what can be said of the arms: of most differences, that they are none."""
    table = compared(results).dropna(subset=["first"])
    first = _first(results)
    if not len(table):
        return []
    if table["seeds"].min() < 2:
        return [
            f"Gain over {first}: from {table['first'].min():+.2f} to {table['first'].max():+.2f} points. "
            "One seed tells no arm from chance: raise --repeats."
        ]
    errors = table["first_deviation"] / table["seeds"] ** 0.5
    sure = table[table["first"].abs() > 2 * errors]
    named = ", ".join(
        f"{row['arm']} {_shown(row, 'first', '+')}" for row in sure.to_dict("records")
    )
    return [
        f"{len(table) - len(sure)} of {len(table)} arms differ from {first} by less than two standard errors "
        f"of their gain; the others: {named or 'none'}."
    ]


def _first(results: StudyResults) -> str:
    return next(axis.values[0] for axis in results.plan.space.listed if axis.field == ARM)


def _summed(name: str, values: pd.Series) -> dict[str, float]:
    return {name: values.mean(), f"{name}_deviation": values.std()}


def _shown(row: dict, name: str, sign: str = "") -> str:
    if pd.isna(row[name]):
        return ""
    deviation = row[f"{name}_deviation"]
    spread = "" if pd.isna(deviation) else f" ± {deviation:.2f}"
    return f"{row[name]:{sign}.2f}{spread}"
