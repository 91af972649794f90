import numpy as np
import pandas as pd
import pytest
from study.tried import grid

from tfqkd.reporting.study_tables import over_seeds, spread_chance


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    return grid(tmp_path_factory)


def runs(rows):
    columns = ["teacher", "temperature", "seed", "validation_accuracy"]
    return pd.DataFrame(rows, columns=columns)


def test_bars_are_the_deviation_over_the_seeds_alone():
    # The teachers differ by 0.2, the seeds by 0.02: only the latter is in the deviation.
    table = over_seeds(
        runs([("a", 1, 0, 0.5), ("a", 1, 1, 0.52), ("b", 1, 0, 0.7), ("b", 1, 1, 0.72)]),
        ["temperature"],
    )
    (row,) = table.itertuples()
    assert row.mean == pytest.approx(61.0)
    assert row.deviation == pytest.approx(100 * 0.02 / np.sqrt(2))
    assert row.seeds == 2


def test_a_single_seed_has_no_deviation():
    table = over_seeds(runs([("a", 1, 0, 0.5)]), ["teacher"])
    assert np.isnan(table["deviation"][0])


def test_two_settings_are_too_few_to_compare_spreads(tried):
    one = tried.taught
    few = one[(one["temperature"] == 1) & (one["teacher"] == "cnn4")]
    assert spread_chance(few).startswith("Fewer than 3 settings a schedule")
