import math

import numpy as np
import pytest
from study.tried import plan, results

from tfqkd.reporting.analysis import importance, importances, interactions, variance
from tfqkd.reporting.drawings import Drawing, Missing


def formula(settings, control, seed):
    """Temperature matters four times as much as the coefficient, and more under one schedule."""
    if control:
        return 0.5
    temperature = -1 if settings["temperature"] == 1 else 1
    coefficient = -1 if settings["coefficient"] == 0.3 else 1
    schedule = -1 if settings["schedule"] == "constant" else 1
    noise = 0.001 * math.sin(37 * temperature + 11 * coefficient + 5 * schedule + 101 * seed)
    return 0.7 + 0.04 * temperature + 0.01 * coefficient + 0.02 * temperature * schedule + noise


FACTORS = ("temperature=1,4", "coefficient=0.3,0.7", "schedule=constant,gradual")


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    return results(tmp_path_factory.mktemp("tried"), plan(*FACTORS, repeats=3), formula)


def test_variance_is_split_as_in_a_balanced_design_by_hand(tried):
    table = variance(tried).set_index("source")
    runs = tried.taught
    y = runs["validation_accuracy"].to_numpy()
    signs = {
        field: np.where(runs[field] == runs[field].iloc[0], 1.0, -1.0)
        for field in ("temperature", "coefficient", "schedule")
    }
    contrasts = {
        **signs,
        "temperature × coefficient": signs["temperature"] * signs["coefficient"],
        "temperature × schedule": signs["temperature"] * signs["schedule"],
        "coefficient × schedule": signs["coefficient"] * signs["schedule"],
    }
    total = ((y - y.mean()) ** 2).sum()
    explained = 0.0
    for name, contrast in contrasts.items():
        share = (contrast @ y) ** 2 / len(y) / total
        explained += share
        assert table.loc[name, "share"] == pytest.approx(share, abs=1e-9)
    assert table.loc["rest", "share"] == pytest.approx(1 - explained, abs=1e-9)
    # The F of a contrast is its square over the mean square of the rest.
    rest = (1 - explained) / (len(y) - 1 - len(contrasts))
    share = table.loc["temperature", "share"]
    assert table.loc["temperature", "F"] == pytest.approx(share / rest)


def test_real_effects_are_told_from_chance(tried):
    table = variance(tried).set_index("source")
    for source in ("temperature", "coefficient", "temperature × schedule"):
        assert table.loc[source, "p"] < 1e-6
    assert table.loc["temperature × coefficient", "p"] > 0.001


def test_importances_rank_the_fields_and_sum_to_one(tried):
    table = importances(tried).set_index("field")["importance"]
    assert table.sum() == pytest.approx(1.0)
    assert table["temperature"] > table["coefficient"] > 0
    # The main effects of the formula are 0.04² and 0.01²; a forest of eight trials is no exact measure.
    assert table["temperature"] == pytest.approx(16 / 17, abs=0.15)


def test_both_are_drawn(tried):
    drawing = importance(tried)
    assert isinstance(drawing, Drawing)
    widths = [bar.get_width() for bar in drawing.figure.axes[0].patches]
    np.testing.assert_allclose(widths, drawing.table["importance"])
    drawing = interactions(tried)
    widths = [bar.get_width() for bar in drawing.figure.axes[0].patches]
    np.testing.assert_allclose(widths, 100 * drawing.table["share"])


def test_too_few_runs_are_no_analysis(tmp_path):
    few = results(
        tmp_path,
        plan("temperature=1,4", "bits=2,3", repeats=1),
        lambda s, c, seed: s.get("temperature", 0) / 10,
    )
    missing = interactions(few)
    assert isinstance(missing, Missing)
    assert "too few finished runs" in missing.reason
    # Temperature explains all.
    table = importances(few).set_index("field")["importance"]
    assert table["temperature"] > 0.9


def test_equal_trials_have_no_importances(tmp_path):
    equal = results(tmp_path, plan(*FACTORS), lambda settings, control, seed: 0.5)
    assert importances(equal).empty
    assert importance(equal).reason == "All trials have the same accuracy."
    assert isinstance(interactions(equal), Missing)


def test_a_range_has_no_analysis_of_variance(tmp_path):
    varied = plan("temperature=1:8", sampler="random", trials=5)
    drawn = results(tmp_path, varied)
    assert "here a field has a range" in interactions(drawn).reason
    assert isinstance(importance(drawn), Drawing)


def test_a_field_whose_name_has_dots_is_a_source_like_any_other(tmp_path):
    def formula(settings, control, seed):
        of_steps = settings.get("distil.schedule_on") == "step"
        return 0.5 + 0.1 * (not control) + 0.01 * of_steps + 0.001 * math.sin(9 * seed)

    found = results(tmp_path, plan("temperature=1,4", "distil.schedule_on=epoch,step"), formula)
    sources = ["temperature", "distil.schedule_on", "temperature × distil.schedule_on", "rest"]
    assert list(variance(found)["source"]) == sources
    assert set(importances(found)["field"]) == {"temperature", "distil.schedule_on"}
