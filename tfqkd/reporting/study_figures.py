"""The figures of a study: what temperature, coefficient, schedule and teacher do to the accuracy."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import spearmanr

from tfqkd.reporting.drawings import Drawing, Missing, new_figure
from tfqkd.reporting.study_tables import (
    best_and_worst,
    by_schedule,
    over_seeds,
    spread,
    spread_chance,
    with_teacher,
)
from tfqkd.reporting.style import COLOURS, INK, MARKERS, label
from tfqkd.study.results import StudyResults
from tfqkd.study.space import Range

_ACCURACY = "validation accuracy (%)"


def by_temperature(results: StudyResults) -> Drawing | Missing:
    """Draws accuracy against temperature for each teacher and schedule, beside the control."""
    title = "Accuracy against temperature"
    if not _varies(results, "temperature"):
        return Missing(title, "The temperature does not vary. Add --vary=temperature=1,2,5,10.")
    table = over_seeds(results.taught, ["schedule", "teacher", "temperature"])
    controls = over_seeds(results.controls, ["schedule"]) if len(results.controls) else None
    schedules = list(dict.fromkeys(table["schedule"]))
    figure = new_figure(5.5 * len(schedules), 4)
    panels = figure.subplots(1, len(schedules), sharey=True, squeeze=False)[0]
    ranged = _ranged(results, "temperature")
    for axes, schedule in zip(panels, schedules, strict=True):
        rows = table[table["schedule"] == schedule]
        for index, (teacher, line) in enumerate(rows.groupby("teacher", sort=False)):
            line = line.sort_values("temperature")  # noqa: PLW2901
            axes.errorbar(
                line["temperature"],
                line["mean"],
                yerr=line["deviation"].fillna(0.0),
                label=f"teacher {teacher}",
                color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)],
                linestyle="none" if ranged else "-",
                capsize=3,
                markersize=5,
            )
        if controls is not None:
            for row in controls[controls["schedule"] == schedule].itertuples():
                axes.axhline(row.mean, color=INK, linestyle="--", linewidth=1, label="control")
        _temperature_axis(axes, table["temperature"], ranged)
        label(axes, f"schedule: {schedule}", "temperature T", _ACCURACY)
        axes.legend(frameon=False, fontsize=8)
    return Drawing(
        "temperature",
        title,
        "Mean over all other settings; bars are the standard deviation over the seeds. The dashed line is "
        "the control: the same schedule of the hard loss, without the teacher's term.",
        figure,
        table,
    )


def heat_map(results: StudyResults) -> Drawing | Missing:
    """Draws the mean accuracy for each temperature and coefficient, a panel a schedule."""
    title = "Temperature × coefficient"
    for field in ("temperature", "coefficient"):
        if not _varies(results, field):
            return Missing(title, f"The {field} does not vary. Add --vary={field}=...")
    runs = results.taught.copy()
    orders = {}
    for field in ("temperature", "coefficient"):
        if _ranged(results, field):
            # A range has a value of its own in every trial: quarters of them make cells.
            quarters = pd.qcut(runs[field], 4, precision=2, duplicates="drop")
            runs[field] = quarters.astype(str)
            # As text they would be sorted by their first digit.
            orders[field] = [str(quarter) for quarter in quarters.cat.categories]
        else:
            orders[field] = sorted(runs[field].unique())
    table = over_seeds(runs, ["schedule", "temperature", "coefficient"])
    schedules = list(dict.fromkeys(table["schedule"]))
    figure = new_figure(4.6 * len(schedules) + 1, 3.8)
    panels = figure.subplots(1, len(schedules), squeeze=False)[0]
    low, high = table["mean"].min(), table["mean"].max()
    for axes, schedule in zip(panels, schedules, strict=True):
        cells = (
            table[table["schedule"] == schedule]
            .pivot(index="coefficient", columns="temperature", values="mean")
            .reindex(index=orders["coefficient"], columns=orders["temperature"])
        )
        mesh = axes.pcolormesh(cells.to_numpy(), vmin=low, vmax=high, cmap="viridis")
        for (row, column), value in np.ndenumerate(cells.to_numpy()):
            if np.isfinite(value):
                dark = value < (low + high) / 2
                colour = "#ffffff" if dark else "#111111"
                position = (column + 0.5, row + 0.5)
                axes.annotate(f"{value:.1f}", position, color=colour, ha="center", va="center")
        label(axes, f"schedule: {schedule}", "temperature T", "coefficient λ")
        axes.set_xticks(np.arange(cells.shape[1]) + 0.5, [str(v) for v in cells.columns])
        axes.set_yticks(np.arange(cells.shape[0]) + 0.5, [str(v) for v in cells.index])
        axes.grid(visible=False)
    figure.colorbar(mesh, ax=list(panels), label=_ACCURACY)
    return Drawing(
        "heat_map",
        title,
        "Mean over teachers and seeds. λ is the first value where the schedule lets it fall.",
        figure,
        table,
    )


def teacher_size(results: StudyResults) -> Drawing | Missing:
    """Draws each teacher's accuracy at its best and at its worst temperature against its size."""
    title = "Teacher size at the best and the worst temperature"
    for field in ("teacher", "temperature"):
        if not _varies(results, field):
            return Missing(title, f"The {field} does not vary. Add --vary={field}=...")
    if with_teacher(results.taught)["teacher"].nunique() < 2:
        return Missing(title, "Only one teacher has a size. Add another one to --vary=teacher=...")
    table = best_and_worst(results.taught)
    figure = new_figure(10, 4.2)
    axes = figure.subplots()
    for index, (schedule, rows) in enumerate(table.groupby("schedule", sort=False)):
        for kind, style in (("best", "-"), ("worst", "--")):
            line = rows[rows["kind"] == kind].sort_values("parameters")
            axes.errorbar(
                line["parameters"],
                line["mean"],
                yerr=line["deviation"].fillna(0.0),
                color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)],
                linestyle=style,
                capsize=3,
                label=f"{schedule}, {kind} T",
            )
    axes.set_xscale("log")
    sizes = table.drop_duplicates("teacher").sort_values("parameters")
    names = [f"{row.teacher}\n{row.parameters:,.0f}" for row in sizes.itertuples()]
    axes.set_xticks(list(sizes["parameters"]), names)
    axes.minorticks_off()
    axes.margins(x=0.15)
    label(axes, "", "teacher and its parameters", _ACCURACY)
    # Long enough for dashes to be seen.
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, handlelength=4)
    return Drawing(
        "teacher_size",
        title,
        "Mean over coefficients and seeds at the temperature with the highest and with the lowest mean; bars "
        "are the standard deviation over the seeds. The paper finds that a small teacher with a well-chosen "
        "temperature equals a large one. Best and worst were chosen on the same images: their distance is "
        f"too large by what chance adds.{one_network_each(results)}",
        figure,
        table,
    )


def one_network_each(results: StudyResults) -> str:
    """Returns what a reader must know of a study whose seeds share their teachers; empty if they do not."""
    if results.plan.recipe.run.pretrain_seed < 0:
        return ""
    return (
        " All seeds share one trained network of each teacher (--run.pretrain_seed): bars and p-values hold "
        "for these networks, not for all that could be trained of their size."
    )


def robustness(results: StudyResults) -> Drawing | Missing:
    """Draws the accuracies of all settings for each schedule: a narrow band is a robust schedule."""
    title = "Robustness: annealed against fixed coefficient"
    if not _varies(results, "schedule"):
        return Missing(title, "The schedule does not vary. Add --vary=schedule=constant,gradual.")
    table = spread(results.taught)
    settings = by_schedule(results.taught)
    figure = new_figure(10, 4)
    axes = figure.subplots()
    jitter = np.random.default_rng(0)
    names = list(table["schedule"])
    groups = [100 * settings[settings["schedule"] == name]["accuracy"] for name in names]
    axes.boxplot(
        [group.to_numpy() for group in groups],
        widths=0.5,
        showfliers=False,
        medianprops={"color": COLOURS[3]},
    )
    for index, group in enumerate(groups):
        positions = index + 1 + jitter.uniform(-0.12, 0.12, len(group))
        axes.plot(
            positions, group, "o", color=COLOURS[index % len(COLOURS)], alpha=0.7, markersize=4
        )
    ticks = [f"{row.schedule}\nspread {row.deviation:.2f}" for row in table.itertuples()]
    axes.set_xticks(range(1, len(names) + 1), ticks)
    label(axes, "", "schedule of the coefficient", _ACCURACY)
    return Drawing(
        "robustness",
        title,
        "A point is a setting of all other fields, averaged over the seeds; the spread is the standard "
        "deviation over these settings, in points. The paper finds annealed coefficients more robust: a "
        f"smaller spread. {spread_chance(results.taught)}",
        figure,
        table,
    )


def entropy(results: StudyResults) -> Drawing | Missing:
    """Draws the gain over the control against the entropy of the teacher's softened outputs."""
    title = "Entropy of the teacher's softened outputs against the gain"
    runs = results.taught.dropna(subset=["teacher_entropy", "gain"])
    if runs["teacher_entropy"].nunique() < 2:
        return Missing(
            title, "There are fewer than two entropies. Vary the teacher or temperature."
        )
    fields = ["trial", "teacher", "schedule"]
    table = runs.groupby(fields, as_index=False, sort=False)[["teacher_entropy", "gain"]].mean()
    table["gain"] *= 100
    figure = new_figure(10, 4.2)
    axes = figure.subplots()
    teachers = list(dict.fromkeys(table["teacher"]))
    schedules = list(dict.fromkeys(table["schedule"]))
    for (schedule, teacher), rows in table.groupby(["schedule", "teacher"], sort=False):
        axes.plot(
            rows["teacher_entropy"],
            rows["gain"],
            MARKERS[schedules.index(schedule) % len(MARKERS)],
            color=COLOURS[teachers.index(teacher) % len(COLOURS)],
            label=f"{teacher}, {schedule}",
            alpha=0.8,
        )
    axes.axhline(0, color=INK, linewidth=1, linestyle="--")
    label(axes, "", "mean entropy of softmax(z / T) (nats)", "gain over the control (points)")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    correlation = spearmanr(table["teacher_entropy"], table["gain"]).statistic
    return Drawing(
        "entropy",
        title,
        "A point is a trial, averaged over its seeds; the entropy is that of the teacher on the validation "
        f"images. Spearman's rank correlation over the {len(table)} trials is {correlation:.2f}.",
        figure,
        table,
    )


def _varies(results: StudyResults, field: str) -> bool:
    return len(results.taught) > 0 and results.taught[field].nunique() > 1


def _ranged(results: StudyResults, field: str) -> bool:
    return any(isinstance(a, Range) and a.field == field for a in results.plan.space.axes)


def _temperature_axis(axes: Axes, temperatures: pd.Series, ranged: bool) -> None:
    if temperatures.max() / temperatures.min() >= 5:
        axes.set_xscale("log")
    if not ranged:
        values = sorted(set(temperatures))
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
