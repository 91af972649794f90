import json
import types

import pytest

from benchmarks import quantizers
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.plans import student_of

RECIPE = Recipe(dataset="digits", teacher="none", formats=())


def test_the_family_has_every_quantizer_at_every_width_it_knows():
    cells = quantizers.family(RECIPE)
    both = {cell for cell in cells if "/" in cell[1]}
    weights = {cell for cell in cells if cell[0] != "float"} - both
    assert weights == {
        *((name, f"W{bits}") for name in ("uniform", "lsq", "dorefa") for bits in (2, 3, 4)),
        ("twn", "W2"),
        ("absmean", "W2"),
        ("ttq", "W2"),
    }
    every = {("uniform", "lsq"), ("lsq", "lsq"), ("lsq", "pact"), ("dorefa", "pact")}
    assert both == {
        *((" + ".join(pair), f"W{bits}/A{bits}") for pair in every for bits in (2, 4, 8)),
        ("twn + lsq", "W2/A2"),
        ("ttq + lsq", "W2/A2"),
    }
    for (row, column), recipe in cells.items():
        assert row.split(" + ")[0] in (recipe.quantize.quantizer, "float")
        assert row.split(" + ")[1:] in ([], [recipe.quantize.activation_quantizer])
        assert column.removeprefix("W").split("/A") == (
            [str(recipe.quantize.bits)]
            + [str(recipe.quantize.activation_bits)] * (recipe.quantize.activation_bits != 32)
        )


@pytest.mark.parametrize("make", [quantizers.family, quantizers.gentle])
def test_only_the_quantized_stage_differs_between_cells(make):
    for recipe in make(RECIPE).values():
        assert student_of(recipe) == student_of(RECIPE)


def test_a_cell_is_mean_and_deviation_over_the_seeds_in_per_cent():
    found = {("lsq", "W2"): [0.5, 0.6, 0.7], ("lsq", "W3"): [0.9], ("float", "W32"): [1.0, 1.0]}
    rows = [line.split("|")[1:-1] for line in quantizers.table(found).markdown().splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells[0] == ["", "W2", "W3", "W32"]
    assert cells[2:] == [["lsq", "60.0 ± 10.0", "90.0", ""], ["float", "", "", "100.0 ± 0.0"]]


def test_what_a_way_gains_is_taken_seed_by_seed():
    found = {("plain", "accuracy"): [0.5, 0.7, 0.6], ("slow", "accuracy"): [0.51, 0.72, 0.6]}
    gained = quantizers.minus_plain(found)
    assert {key: pytest.approx(values) for key, values in gained.items()} == {
        ("slow", "minus plain"): [0.01, 0.02, 0.0]
    }
    assert "1.0 ± 1.0" in quantizers.table({**found, **gained}).markdown()
    assert quantizers.minus_plain({("lsq", "W2"): [0.5]}) == {}


def test_every_seed_of_every_cell_is_a_run_with_shared_products(tmp_path, monkeypatch, capsys):
    calls = []

    def run(recipe, directory, products, data):
        calls.append((recipe.run.seed, recipe.quantize.bits, directory, products))
        return types.SimpleNamespace(student=types.SimpleNamespace(accuracy=recipe.run.seed / 10))

    monkeypatch.setattr("tfqkd.training.run.run", run)
    monkeypatch.setattr("tfqkd.training.execution.load_data", lambda recipe: recipe.data.dataset)
    monkeypatch.setitem(quantizers.TABLES, "family", lambda recipe: {("a", "W2"): recipe})
    arguments = ["--dataset=digits", "--seed=3", "--repeats=2", f"--run_dir={tmp_path}"]
    assert quantizers.main(["quantizers", *arguments]) == 0
    assert [(seed, products) for seed, _, _, products in calls] == [
        (3, tmp_path / "products"),
        (4, tmp_path / "products"),
    ]
    assert len({directory for _, _, directory, _ in calls}) == 2
    listed = json.loads((tmp_path / "family.json").read_text())
    assert listed == [{"row": "a", "column": "W2", "accuracy": [0.3, 0.4]}]
    assert "35.0 ± 7.1" in capsys.readouterr().out
