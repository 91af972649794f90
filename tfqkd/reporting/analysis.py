"""Which fields matter in a study, and which depend on each other: fANOVA and analysis of variance."""

import itertools

import numpy as np
import optuna
import pandas as pd
import statsmodels.formula.api as formulas
from statsmodels.stats.anova import anova_lm

from tfqkd.reporting.drawings import Drawing, Missing, new_figure
from tfqkd.reporting.study_figures import one_network_each
from tfqkd.reporting.style import COLOURS, label
from tfqkd.study import attributes
from tfqkd.study.results import StudyResults

_FEWEST_TRIALS = 4
_ACCURACY = "validation_accuracy"


def importances(results: StudyResults) -> pd.DataFrame:
    """Returns each field's share of the variance of the accuracy, by fANOVA (Hutter et al., ICML 2014).

    Returns:
        Columns `field` and `importance`; the importances sum to 1. Empty where all trials are alike.
    """
    study = optuna.create_study(direction="maximize")
    study.add_trials([t for t in results.trials if attributes.CONTROL not in t.user_attrs])
    if len({trial.value for trial in study.trials}) < 2:
        return pd.DataFrame(columns=["field", "importance"])

    def varies(field: str) -> bool:
        return len({str(trial.params[field]) for trial in study.trials}) > 1

    fields = list(filter(varies, results.plan.space.fields))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=fields)
    return pd.DataFrame(list(shares.items()), columns=["field", "importance"])


def variance(results: StudyResults) -> pd.DataFrame | None:
    """Returns the analysis of variance with all main effects and all interactions of two fields.

    Sums of squares are of type II; the seeds are the repeats.

    Returns:
        Columns `source`, `share` (of the total sum of squares), `F`, `p`, `degrees`; None where the fields
        are not listed, or there are too few runs to tell an effect from chance.
    """
    runs = results.taught
    fields = [axis.field for axis in results.plan.space.listed if runs[axis.field].nunique() > 1]
    if not results.plan.space.is_grid or not fields or runs[_ACCURACY].nunique() < 2:
        return None
    # Names hold dots.
    terms = [f'C(Q("{field}"))' for field in fields]
    pairs = [f"{a}:{b}" for a, b in itertools.combinations(terms, 2)]
    columns = runs[fields].astype(str).assign(**{_ACCURACY: runs[_ACCURACY]})
    model = formulas.ols(f"{_ACCURACY} ~ {' + '.join([*terms, *pairs])}", columns).fit()
    if model.df_resid < 1 or np.linalg.matrix_rank(model.model.exog) < model.model.exog.shape[1]:
        return None
    table = anova_lm(model, typ=2)
    total = table["sum_sq"].sum()
    names = [
        name.replace('C(Q("', "").replace('"))', "").replace(":", " × ") for name in table.index
    ]
    return pd.DataFrame(
        {
            "source": ["rest" if name == "Residual" else name for name in names],
            "share": table["sum_sq"].to_numpy() / total,
            "F": table["F"].to_numpy(),
            "p": table["PR(>F)"].to_numpy(),
            "degrees": table["df"].to_numpy(),
        }
    )


def importance(results: StudyResults) -> Drawing | Missing:
    """Draws the importance of each field."""
    title = "Importance of the hyper-parameters (fANOVA)"
    trials = results.taught["trial"].nunique() if len(results.taught) else 0
    if trials < _FEWEST_TRIALS:
        return Missing(title, f"It needs {_FEWEST_TRIALS} finished trials; there are {trials}.")
    table = importances(results)
    if table.empty:
        return Missing(title, "All trials have the same accuracy.")
    figure = new_figure(10, 0.45 * len(table) + 1.2)
    axes = figure.subplots()
    bars = axes.barh(table["field"], table["importance"], color=COLOURS[0], height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    label(axes, "", "share of the variance of the validation accuracy", "")
    axes.grid(visible=False, axis="y")
    return Drawing(
        "importance",
        title,
        "How much of the accuracy's variance over the whole space each field explains by itself, estimated "
        "by a random forest (Hutter et al., 2014); scaled to sum to 1.",
        figure,
        table,
    )


def interactions(results: StudyResults) -> Drawing | Missing:
    """Draws the shares of the main effects and of the interactions of two fields."""
    title = "Main effects and interactions (two-way analysis of variance)"
    if not results.plan.space.is_grid:
        return Missing(title, "It needs listed values in every --vary; here a field has a range.")
    table = variance(results) if len(results.taught) else None
    if table is None:
        return Missing(
            title, "There are too few finished runs to tell an effect from chance. Raise --repeats."
        )
    figure = new_figure(10, 0.35 * len(table) + 1.2)
    axes = figure.subplots()
    colours = [_colour_of(source) for source in table["source"]]
    bars = axes.barh(table["source"], 100 * table["share"], color=colours, height=0.6)
    chances = ["" if np.isnan(p) else f"p = {p:.2g}" for p in table["p"]]
    axes.bar_label(bars, chances, padding=4, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    label(axes, "", "share of the sum of squares (%)", "")
    axes.grid(visible=False, axis="y")
    return Drawing(
        "interactions",
        title,
        "Type II sums of squares over all runs; the seeds are the repeats, the rest is chance and what more "
        "than two fields do together. A small p says that the effect is more than that. An interaction (×) "
        f"says that the best value of one field depends on the other.{one_network_each(results)}",
        figure,
        table,
    )


def _colour_of(source: str) -> str:
    if source == "rest":
        return "#999999"
    return COLOURS[4] if " × " in source else COLOURS[0]
