"""The arms of a study, tried on a formula."""

import pandas as pd
import pytest
from study.tried import plan, results

from tfqkd.reporting.study_arms import arms_figure, arms_findings, arms_table, compared
from tfqkd.study.space import parse_space

ARMS = ("plain: teacher=none", "kd:", "same: temperature=4", "worse: temperature=8")
# Of seeds 0 and 1; the test accuracy is a point lower.
ACCURACY = {"plain": (0.9, 0.8), "kd": (0.92, 0.83), "same": (0.8, 0.9), "worse": (0.86, 0.76)}


def tried(directory, repeats=2):
    space = parse_space((), ARMS)

    def formula(settings, control, seed):
        return (0.85, 0.75)[seed] if control else ACCURACY[settings["arm"]][seed]

    found = results(directory, plan(space=space, repeats=repeats), formula)
    found.runs["seconds"] = found.runs["arm"].map({"plain": 2.0, "kd": 3.0, "same": 2.0})
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return tried(tmp_path_factory.mktemp("arms"))


def test_each_arm_is_compared_at_the_same_seed(found):
    table = compared(found).set_index("arm")
    assert list(table.index) == ["plain", "kd", "same", "worse", "control"]
    assert table.loc["kd", "validation"] == pytest.approx(87.5)
    assert table.loc["kd", "test"] == pytest.approx(86.5)
    assert table.loc["kd", "first"] == pytest.approx(2.5)
    # Sample deviation of 2 and 3.
    assert table.loc["kd", "first_deviation"] == pytest.approx(0.5**0.5)
    assert table.loc["kd", "control"] == pytest.approx(7.5)
    assert table.loc["kd", "cost"] == pytest.approx(1.5)
    assert pd.isna(table.loc["plain", "first"])
    assert pd.isna(table.loc["control", "control"])
    assert table.loc["control", "first"] == pytest.approx(-5)


def test_the_table_has_gain_deviation_and_cost(found):
    table = arms_table(found)
    assert table.headings == [
        "arm",
        "validation %",
        "test %",
        "over plain",
        "over the control",
        "epoch",
    ]
    assert table.rows[1] == [
        "kd",
        "87.50 ± 6.36",
        "86.50 ± 6.36",
        "+2.50 ± 0.71",
        "+7.50 ± 0.71",
        "1.50",
    ]
    assert table.rows[3][5] == ""
    assert set(arms_figure(found).table["arm"]) == {"kd", "same", "worse", "control"}


def test_most_differences_are_none_and_it_says_so(found, tmp_path):
    (said,) = arms_findings(found)
    assert said.startswith("1 of 4 arms differ from plain by less than two standard errors")
    assert "kd +2.50 ± 0.71, worse -4.00 ± 0.00, control -5.00 ± 0.00." in said
    (said,) = arms_findings(tried(tmp_path, repeats=1))
    assert "One seed tells no arm from chance" in said
