import dataclasses

import numpy as np
import pytest
import scipy.stats
from study.tried import grid, plan, results

from tfqkd.reporting.analysis import interactions
from tfqkd.reporting.drawings import Drawing, Missing
from tfqkd.reporting.study_figures import (
    by_temperature,
    entropy,
    heat_map,
    robustness,
    teacher_size,
)
from tfqkd.reporting.study_page import findings
from tfqkd.reporting.study_tables import best_and_worst, spread


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    return grid(tmp_path_factory)


@pytest.fixture(scope="module")
def drawn_from_ranges(tmp_path_factory):
    # Up to 20: as texts, 13 would come before 5.
    varied = plan("temperature=1:20", "coefficient=0.1:0.9", sampler="random", trials=12)
    return results(tmp_path_factory.mktemp("ranges"), varied)


def test_the_temperature_figure_draws_the_formula(tried):
    drawing = by_temperature(tried)
    assert isinstance(drawing, Drawing)
    constant, gradual = drawing.figure.axes
    for axes, slope in ((constant, 2.0), (gradual, 1.0)):
        lines = {c.get_label(): c.lines[0] for c in axes.containers}
        for teacher, best in (("teacher cnn4", 85.0), ("teacher cnn16", 86.0)):
            np.testing.assert_array_equal(lines[teacher].get_xdata(), [1, 2, 8])
            expected = [best - slope, best, best - 2 * slope]
            np.testing.assert_allclose(lines[teacher].get_ydata().astype(float), expected)
        (control,) = [line for line in axes.lines if line.get_label() == "control"]
        np.testing.assert_allclose(control.get_ydata(), [80, 80])
    assert set(drawing.table["deviation"].round(6)) == {round(1 / np.sqrt(2), 6)}


def test_the_heat_map_has_a_cell_for_each_temperature_and_coefficient(tried):
    drawing = heat_map(tried)
    cells = drawing.table[drawing.table["schedule"] == "gradual"]
    assert len(cells) == 6
    for row in cells.itertuples():
        expected = {1.0: 84.5, 2.0: 85.5, 8.0: 83.5}[row.temperature]
        assert row.mean == pytest.approx(expected)
    texts = [text.get_text() for text in drawing.figure.axes[1].texts]
    assert texts == ["84.5", "85.5", "83.5"] * 2


def test_best_and_worst_temperatures_are_those_of_the_formula(tried):
    table = best_and_worst(tried.taught)
    assert set(table[table["kind"] == "best"]["temperature"]) == {2.0}
    assert set(table[table["kind"] == "worst"]["temperature"]) == {8.0}
    assert dict(zip(table["teacher"], table["parameters"], strict=True)) == {
        "cnn4": 4000,
        "cnn16": 16000,
    }
    drawing = teacher_size(tried)
    assert len(drawing.figure.axes[0].containers) == 4


def test_a_study_with_no_teacher_among_its_teachers_ranks_those_that_have_a_size(tmp_path):
    drawing = teacher_size(results(tmp_path, plan("temperature=1,2", "teacher=none,cnn4,cnn16")))
    assert isinstance(drawing, Drawing)
    assert set(drawing.table["teacher"]) == {"cnn4", "cnn16"}
    ticks = [text.get_text() for text in drawing.figure.axes[0].get_xticklabels()]
    assert ticks == ["cnn4\n4,000", "cnn16\n16,000"]


def test_one_teacher_beside_none_has_no_size_to_be_compared(tmp_path):
    tried = results(tmp_path, plan("temperature=1,2", "teacher=none,cnn4"))
    assert "Only one teacher has a size." in teacher_size(tried).reason
    assert not any("Teacher size" in said for said in findings(tried))


def test_shared_teachers_are_said_where_teachers_are_compared(tmp_path, tried):
    shared = dataclasses.replace(
        tried,
        plan=dataclasses.replace(
            tried.plan, recipe=tried.plan.recipe.changed({"run.pretrain_seed": 0})
        ),
    )
    for figure in (teacher_size, interactions):
        assert "one trained network of each teacher" in figure(shared).caption
        assert "one trained network" not in figure(tried).caption


def test_the_spreads_are_tested_against_chance(tried):
    # By hand: an analysis of variance of the distances from each schedule's median (Brown and Forsythe).
    settings = (
        tried.taught.groupby(["trial", "schedule"])["validation_accuracy"].mean().reset_index()
    )
    groups = [group["validation_accuracy"] for _, group in settings.groupby("schedule")]
    distances = [(group - group.median()).abs() for group in groups]
    chance = scipy.stats.f_oneway(*distances).pvalue
    assert f"p = {chance:.2g}." in robustness(tried).caption


def test_the_spread_is_the_deviation_over_the_settings(tried):
    table = spread(tried.taught).set_index("schedule")
    for schedule, slope in (("constant", 2.0), ("gradual", 1.0)):
        settings = [
            size - harm * slope for size in (85.0, 86.0) for harm in (1, 0, 2) for _ in range(2)
        ]
        row = table.loc[schedule]
        assert row["settings"] == 12
        assert row["deviation"] == pytest.approx(np.std(settings, ddof=1))
        assert (row["lowest"], row["highest"]) == pytest.approx((85 - 2 * slope, 86))
    assert isinstance(robustness(tried), Drawing)


def test_the_entropy_figure_has_a_point_for_each_trial(tried):
    drawing = entropy(tried)
    assert len(drawing.table) == 24
    assert drawing.table["gain"].max() == pytest.approx(6.0)
    assert "Spearman's rank correlation over the 24 trials is" in drawing.caption


def test_ranges_are_drawn_too(drawn_from_ranges):
    drawing = heat_map(drawn_from_ranges)
    # Quarters of each range, the lowest first.
    assert drawing.table["temperature"].nunique() == 4
    axes, runs = drawing.figure.axes[0], drawn_from_ranges.taught
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    lows = [float(tick.strip("([]").split(",")[0]) for tick in ticks]
    assert lows == sorted(lows)
    assert lows[0] < 9
    assert lows[-1] > 10
    quarters = [
        np.searchsorted(np.quantile(runs[field], [0.25, 0.5, 0.75]), runs[field])
        for field in ("coefficient", "temperature")
    ]
    expected = np.full((4, 4), np.nan)
    for cell in {*zip(*quarters, strict=True)}:
        inside = (quarters[0] == cell[0]) & (quarters[1] == cell[1])
        expected[cell] = 100 * runs["validation_accuracy"][inside].mean()
    shown = np.ma.filled(axes.collections[0].get_array(), np.nan)
    np.testing.assert_allclose(shown.reshape(4, 4), expected)
    points = by_temperature(drawn_from_ranges)
    assert points.table["temperature"].nunique() == 12


@pytest.mark.parametrize("figure", [teacher_size, robustness])
def test_a_figure_of_what_does_not_vary_says_so(drawn_from_ranges, figure):
    missing = figure(drawn_from_ranges)
    assert isinstance(missing, Missing)
    assert "does not vary. Add --vary=" in missing.reason
