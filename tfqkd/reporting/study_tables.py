"""What the figures of a study draw: its runs, summed up."""

import pandas as pd
from scipy.stats import levene

_FEWEST_SETTINGS = 3


def over_seeds(runs: pd.DataFrame, fields: list[str]) -> pd.DataFrame:
    """Returns mean and deviation over the seeds for each combination of `fields`, in per cent.

    All other settings are averaged within each seed first, so that the deviation is that of the seeds alone.

    Returns:
        Columns: `fields`, `mean`, `deviation` (sample standard deviation; NaN for one seed), `seeds`.
    """
    seeds = runs.groupby([*fields, "seed"], as_index=False, sort=False)[
        "validation_accuracy"
    ].mean()
    grouped = seeds.groupby(fields, as_index=False, sort=False)["validation_accuracy"]
    table = grouped.agg(mean="mean", deviation="std", seeds="count")
    table[["mean", "deviation"]] *= 100
    return table


def best_and_worst(taught: pd.DataFrame) -> pd.DataFrame:
    """Returns each teacher's row at its best and worst temperature, for each schedule."""
    taught = with_teacher(taught)
    means = over_seeds(taught, ["schedule", "teacher", "temperature"])
    sizes = taught.groupby("teacher")["teacher_parameters"].mean()
    rows = []
    for _, group in means.groupby(["schedule", "teacher"], sort=False):
        for kind, index in (("best", group["mean"].idxmax()), ("worst", group["mean"].idxmin())):
            rows.append({**group.loc[index], "kind": kind})
    table = pd.DataFrame(rows)
    table["parameters"] = table["teacher"].map(sizes)
    return table


def with_teacher(taught: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs that had a teacher: `none` may be one of the values of a study."""
    return taught.dropna(subset=["teacher_parameters"])


def spread(taught: pd.DataFrame) -> pd.DataFrame:
    """Returns mean, deviation and range over the settings for each schedule, in per cent and points."""
    settings = by_schedule(taught)
    table = settings.groupby("schedule", as_index=False, sort=False)["accuracy"].agg(
        settings="count", mean="mean", deviation="std", lowest="min", highest="max"
    )
    table[["mean", "deviation", "lowest", "highest"]] *= 100
    return table


def spread_chance(taught: pd.DataFrame) -> str:
    """Says whether the spreads differ by more than chance (Brown and Forsythe, JASA 1974)."""
    groups = [group["accuracy"] for _, group in by_schedule(taught).groupby("schedule", sort=False)]
    if min(map(len, groups)) < _FEWEST_SETTINGS:
        return (
            f"Fewer than {_FEWEST_SETTINGS} settings a schedule are too few to tell it from chance."
        )
    chance = levene(*groups, center="median").pvalue
    return f"Brown and Forsythe's test of equal spreads: p = {chance:.2g}."


def by_schedule(taught: pd.DataFrame) -> pd.DataFrame:
    """Returns the accuracy of each trial, averaged over its seeds, and its schedule."""
    runs = taught.groupby(["trial", "schedule"], as_index=False, sort=False)
    return runs["validation_accuracy"].mean().rename(columns={"validation_accuracy": "accuracy"})
