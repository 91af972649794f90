"""The page of a study."""

import pathlib

import pandas as pd

from tfqkd.recipe.flag_file import flag_file
from tfqkd.reporting.drawings import Drawing, Missing
from tfqkd.reporting.page import PAGE_FILE, PageTable, PageText, write_page
from tfqkd.reporting.study_arms import arms_figure, arms_findings, arms_table, has_arms
from tfqkd.reporting.study_figures import (
    by_temperature,
    entropy,
    heat_map,
    robustness,
    teacher_size,
)
from tfqkd.reporting.study_tables import (
    best_and_worst,
    over_seeds,
    spread,
    spread_chance,
    with_teacher,
)
from tfqkd.reporting.training_figures import Curve, draw_curves, draw_layers
from tfqkd.storage import locked, write_atomically
from tfqkd.study.local import LocalTrial
from tfqkd.study.queue import shown
from tfqkd.study.results import StudyResults
from tfqkd.tables import Table

BEST_FILE, RUNS_FILE = "best.flags", "runs.csv"
_LOCK_FILE = ".report.lock"


def write_study_page(results: StudyResults, directory: pathlib.Path) -> pathlib.Path:
    """Writes the report of what a study has found so far.

    Args:
        results: Of the study.
        directory: Gets `report.html`, `figures`, `runs.csv` with a row for each trial and seed, and
            `best.flags` for `bin/train` once a trial is done.

    Returns:
        The page.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # Workers that end together write the same files.
    with locked(directory / _LOCK_FILE):
        return _write(results, directory)


def _write(results: StudyResults, directory: pathlib.Path) -> pathlib.Path:
    plan, counts = results.plan, results.counts
    done, open_ = counts["complete"] + counts["pruned"], counts["waiting"] + counts["running"]
    lead = (
        f"{plan.recipe.student.network} on {plan.recipe.data.dataset}, "
        f"{plan.recipe.quantize.bits} bits: "
        f"{', '.join(map(str, plan.space.axes))}; {plan.repeats} seed(s) a trial. "
        f"{done} of {done + open_} trials done"
        + (f", {counts['pruned']} of them given up early" if counts["pruned"] else "")
        + (f", {counts['fail']} failed or interrupted" if counts["fail"] else "")
        + "."
    )
    texts = []
    tables = _tables(results) if len(results.runs) else []
    best = results.best_recipe()
    if best:
        results.runs.to_csv(directory / RUNS_FILE, index=False)
        flags = f"# The best trial of the study {results.name}.\n{flag_file(best)}"
        write_atomically(directory / BEST_FILE, flags)
        texts.append(PageText(f"The best recipe: bin/train --flagfile={BEST_FILE}", flags))
    texts.append(PageText("The study", plan.to_json()))
    return write_page(
        directory,
        f"Study {results.name}",
        lead,
        findings=findings(results),
        tables=tables[:1],
        figures=figures(results) if len(results.taught) else (),
        details=tables[1:],
        texts=texts,
    )


def print_study(results: StudyResults, directory: pathlib.Path) -> None:
    """Prints what came out and where the files are."""
    if len(results.runs):
        summary = _tables(results)[0]
        table = Table(*summary.headings)
        for row in summary.rows:
            table.add(*row)
        print(f"\n{table}\n")
    for finding in findings(results):
        print(f"- {finding}")
    print(f"\nReport          {directory / PAGE_FILE}")
    print(f"TensorBoard     tensorboard --logdir {directory / 'trials'}")


def figures(results: StudyResults) -> list[Drawing | Missing]:
    """Returns all figures of a study with at least one finished trial."""
    return [
        *([arms_figure(results)] if has_arms(results) else []),
        by_temperature(results),
        heat_map(results),
        teacher_size(results),
        robustness(results),
        entropy(results),
        *_analysis(results),
        _curves(results),
        _layers(results),
    ]


def _analysis(results: StudyResults) -> list[Drawing | Missing]:
    if any(isinstance(trial, LocalTrial) for trial in results.trials):
        reason = "It needs Optuna and statsmodels: pip install 'tfqkd[study]', and the same command again."
        titles = ("Importance of the hyper-parameters (fANOVA)", "Main effects and interactions")
        return [Missing(title, reason) for title in titles]
    from tfqkd.reporting.analysis import importance, interactions  # noqa: PLC0415 (extra packages)

    return [importance(results), interactions(results)]


def findings(results: StudyResults) -> list[str]:
    """Returns sentences on the two claims of the paper, as far as the study varies what they are about."""
    taught = results.taught
    if not len(taught):
        return []
    said = arms_findings(results) if has_arms(results) else []
    if with_teacher(taught)["teacher"].nunique() > 1 and taught["temperature"].nunique() > 1:
        table = best_and_worst(taught)
        for schedule, rows in table.groupby("schedule", sort=False):
            best = rows[rows["kind"] == "best"].sort_values("parameters")
            small, large = best.iloc[0], best.iloc[-1]
            worst = rows[rows["kind"] == "worst"].sort_values("parameters")
            said.append(
                f"Teacher size, schedule {schedule}: the smallest teacher ({small['teacher']}) at its best "
                f"temperature ({small['temperature']:g}) gives {_percent(small)}, the largest "
                f"({large['teacher']}) at its best ({large['temperature']:g}) {_percent(large)} and at its "
                f"worst ({worst.iloc[-1]['temperature']:g}) {_percent(worst.iloc[-1])}."
            )
    if taught["schedule"].nunique() > 1:
        spreads = ", ".join(
            f"{row.schedule} {row.deviation:.2f} (from {row.lowest:.2f} to {row.highest:.2f} %)"
            for row in spread(taught).itertuples()
        )
        said.append(
            f"Robustness: standard deviation over the settings, in points: {spreads}. "
            f"{spread_chance(taught)}"
        )
    gains = taught.groupby("trial")["gain"].mean().dropna()
    if len(gains):
        said.append(
            f"Gain over the control: {100 * gains.mean():+.2f} points on average, best "
            f"{100 * gains.max():+.2f}, worst {100 * gains.min():+.2f}; "
            f"{int((gains > 0).sum())} of {len(gains)} trials are above their control."
        )
    return said


def _tables(results: StudyResults) -> list[PageTable]:
    fields = list(results.plan.space.fields)
    runs = results.runs
    grouped = runs.groupby(["trial", "control"], as_index=False, sort=False)
    table = grouped.agg(
        **{field: (field, "first") for field in fields},
        validation=("validation_accuracy", "mean"),
        validation_deviation=("validation_accuracy", "std"),
        test=("test_accuracy", "mean"),
        test_deviation=("test_accuracy", "std"),
        gain=("gain", "mean"),
    ).sort_values("validation", ascending=False)
    rows = []
    for row in table.to_dict("records"):
        settings = results.settings(row["trial"])
        rows.append(
            [
                f"control {row['trial']}" if row["control"] else row["trial"],
                *(shown(settings[field]) if field in settings else "" for field in fields),
                _mean(row["validation"], row["validation_deviation"]),
                "" if row["control"] or pd.isna(row["gain"]) else f"{100 * row['gain']:+.2f}",
                _mean(row["test"], row["test_deviation"]),
            ]
        )
    headings = ["trial", *fields, "validation %", "gain", "test %"]
    best = results.best()
    top = next((row for row in rows if row[0] == best), rows[0])
    controls = [row for row in rows if str(row[0]).startswith("control")][:1]
    pretrained = [
        f"Float student: {_mean(runs['float_accuracy'].mean(), None)} % of the test images."
    ]
    for teacher, group in results.taught.groupby("teacher"):
        accuracy = group["teacher_accuracy"].mean()
        if not pd.isna(accuracy):
            pretrained.append(f"Teacher {teacher}: {_mean(accuracy, None)} %.")
    note = (
        "Mean ± standard deviation over the seeds. Chosen on the validation images; the test images are "
        "measured once for each run and choose nothing. " + " ".join(pretrained)
    )
    return [
        *([arms_table(results)] if has_arms(results) else []),
        PageTable("The best trial and the best control", headings, [top, *controls], note, (0,)),
        PageTable("All trials", headings, rows, "", [rows.index(top)]),
    ]


def _curves(results: StudyResults) -> Drawing:
    means = over_seeds(results.taught, ["trial"]).set_index("trial")["mean"]
    seed = results.plan.recipe.run.seed
    best, worst = int(means.idxmax()), int(means.idxmin())
    names = {best: f"best: trial {best}"}
    if worst != best:
        names[worst] = f"worst: trial {worst}"
    if len(results.controls):
        control = _control_of(results, best)
        names[control] = f"control {control}"
    curves = [
        Curve(names.get(trial, ""), rows)
        for (trial, of_seed), rows in results.curves.items()
        if of_seed == seed
    ]
    curves.sort(key=lambda curve: list(names.values()).index(curve.name) if curve.name else -1)
    return draw_curves(
        curves,
        f"The best and the worst trial and the best one's control, seed {seed}; others faint.",
    )


def _layers(results: StudyResults) -> Drawing:
    seed, best = results.plan.recipe.run.seed, results.best()
    if best is None:
        raise AssertionError("Figures are drawn once a trial is done.")
    models = {f"best: trial {best}": results.layers[best, seed]}
    if len(results.controls):
        control = _control_of(results, best)
        models[f"control {control}"] = results.layers[control, seed]
    return draw_layers(models, f"The best trial and its control, seed {seed}.")


def _control_of(results: StudyResults, trial: int) -> int:
    wanted = results.plan.control_of(results.settings(trial))
    controls = list(dict.fromkeys(results.controls["trial"]))
    return next((c for c in controls if results.settings(c) == wanted), controls[0])


def _mean(value: float, deviation: float | None) -> str:
    spread_ = "" if deviation is None or pd.isna(deviation) else f" ± {100 * deviation:.2f}"
    return f"{100 * value:.2f}{spread_}"


def _percent(row: pd.Series) -> str:
    return (
        _mean(row["mean"] / 100, None if pd.isna(row["deviation"]) else row["deviation"] / 100)
        + " %"
    )
