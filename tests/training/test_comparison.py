import dataclasses
import json
import statistics

import numpy as np
import pytest

from tfqkd.data import load
from tfqkd.reporting.results import comparison_table
from tfqkd.training import comparison
from tfqkd.training.comparison import Row, compare, run_path, variants
from tfqkd.training.directory import RunDirectory
from tfqkd.training.recipe import Recipe

from . import numpy_front
from .regressions import save_model

NAMES = ["no teacher", "teacher, fixed coefficient", "teacher, annealed coefficient"]


def changes(recipe, variant):
    return {name: new for name, (_, new) in recipe.differences(variant).items()}


@pytest.mark.parametrize("bits", [2, 4])
def test_the_variants_differ_in_their_teacher_and_coefficient_alone(bits):
    recipe = Recipe(bits=bits, coefficient=0.9, coefficient_end=0.3, temperature=4.0, seed=7)
    kind = {2: "ternary", 4: "4-bit"}[bits]
    found = variants(recipe)
    assert list(found) == [f"{kind}, {name}" for name in NAMES]
    alone, fixed, annealed = found.values()
    assert changes(recipe, alone) == {"teacher": "none", "formats": ()}
    assert changes(recipe, fixed) == {
        "schedule": "constant",
        "coefficient": pytest.approx(0.6),
        "formats": (),
    }
    assert annealed == recipe
    assert not alone.has_teacher
    assert fixed.has_teacher


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation_bits": 4, "layer_bits": ("conv2=4/4",), "gradual_share": ("0.5",)},
        {"bits": 4, "quantizer": "dorefa", "gradient_bits": 6, "gradual_bits": ("8",)},
    ],
)
def test_the_controls_train_the_float_student_on_and_turn_the_teachers_term_off(settings):
    recipe = Recipe(coefficient=0.9, seed=7, **settings)
    found = variants(recipe, controls=True)
    longer, alone, off, *others = found.values()
    assert [alone, *others] == list(variants(recipe).values())
    assert [name.partition(", ")[2] for name in found] == [
        *("no teacher", "no teacher", "teacher's term off"),
        *("teacher, fixed coefficient", "teacher, annealed coefficient"),
    ]
    assert (longer.bits, longer.activation_bits, longer.has_teacher) == (32, 32, False)
    assert longer.quantized_epochs == recipe.quantized_epochs
    # What is left is (1-λ)·hard, with the annealed λ of the recipe.
    assert changes(alone, off) == {"soft_loss": "none"}
    assert off.distils
    assert (off.coefficient, off.schedule) == (0.9, "gradual")


@pytest.mark.parametrize(
    ("settings", "middle"),
    [
        ({}, 0.5),
        ({"schedule": "cosine", "coefficient": 0.8}, 0.4),
        ({"schedule": "exponential", "coefficient_end": 0.01}, 0.505),
        # A step schedule ends where its milestones lead to; it has no `coefficient_end`.
        ({"schedule": "step", "coefficient_end": 0.9}, 0.505),
        ({"schedule": "step", "milestones": (0.5,), "learning_rate_factor": 0.5}, 0.75),
    ],
)
def test_the_fixed_coefficient_is_the_mean_of_the_schedules_ends(settings, middle):
    _, fixed, _ = variants(Recipe(**settings)).values()
    assert fixed.coefficient == pytest.approx(middle, rel=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"teacher": "none"},
        {"coefficient": 0.0},
        {"soft_loss": "none"},
        {"schedule": "constant"},
    ],
)
def test_without_an_annealed_teacher_there_is_nothing_to_compare(settings):
    with pytest.raises(ValueError, match=r"needs a recipe with a teacher and an annealed"):
        variants(Recipe(**settings))


def test_a_row_has_the_mean_and_the_sample_deviation_of_its_seeds():
    accuracies = (0.912, 0.934, 0.927)
    row = Row("ternary", 1234, accuracies)
    assert row.mean == statistics.fmean(accuracies)
    assert row.deviation == statistics.stdev(accuracies)
    assert row.accuracy_text() == "92.43 ± 1.12"
    assert Row("ternary", 1234, (0.9,)).deviation is None
    assert Row("ternary", 1234, (0.9,)).accuracy_text() == "90.00"


def test_the_table_says_what_a_row_holds():
    rows = [Row("float teacher", 12345, (0.5, 0.75)), Row("ternary", 678, (0.25,), 0.9764, 9876)]
    heading, _, *lines = str(comparison_table(rows)).splitlines()
    assert heading.split("  ")[0].strip() == "model"
    assert "quantized %" in heading
    assert "file bytes" in heading
    assert lines[0].split() == ["float", "teacher", "12,345", "0.0", "62.50", "±", "17.68", "2"]
    assert lines[1].split() == ["ternary", "678", "97.6", "9,876", "25.00", "1"]


def fake_run(calls):
    """Stands for `run`: accuracies tell variant, seed and role apart."""

    def run(recipe, directory, products, command):
        calls.append((recipe, directory, products, command))
        names = [*recipe.teachers(), recipe.student]
        several = len(recipe.teachers()) > 1
        models = [
            {
                "role": "float student"
                if name == recipe.student
                else f"float teacher{f' {number}' if several else ''}",
                "accuracy": recipe.seed / 100 + number / 1000,
                "parameters": 10 * number,
            }
            for number, name in enumerate(names, start=1)
        ]
        final = 0.5 + recipe.seed / 100 + {"none": 0.0}.get(recipe.teacher, recipe.coefficient / 10)
        last = {"role": "?", "accuracy": final, "parameters": 99, "quantized_share": 0.75}
        exported = [{"bytes": 1234}, {"bytes": 5}] if recipe.formats else []
        return {"models": [*models, last], "export": exported}

    return run


def test_every_variant_is_run_for_every_seed(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(comparison, "run", fake_run(calls))
    recipe = Recipe(student="cnn2", teacher="cnn4", seed=5)
    rows = compare(recipe, tmp_path, iter([3, 4]), ["bin/train", "--compare"])
    expected = [
        (dataclasses.replace(variant, seed=seed), run_path(tmp_path, name, seed))
        for seed in (3, 4)
        for name, variant in variants(recipe).items()
    ]
    assert [call[:2] for call in calls] == expected
    assert {call[2] for call in calls} == {tmp_path / "products"}
    assert all(call[3] == ["bin/train", "--compare"] for call in calls)
    shared = tmp_path / "shared"
    compare(recipe, tmp_path / "other", [3], products=shared)
    assert {call[2] for call in calls[6:]} == {shared}
    assert [path.name for _, path in expected][:3] == [
        "ternary-no_teacher-seed3",
        "ternary-teacher-fixed_coefficient-seed3",
        "ternary-teacher-annealed_coefficient-seed3",
    ]
    assert [(row.name, row.parameters) for row in rows] == [
        ("float teacher", 10),
        ("float student", 20),
        *((f"ternary, {name}", 99) for name in NAMES),
    ]
    assert [(row.quantized_share, row.file_bytes) for row in rows] == [
        (0.0, None), (0.0, None), (0.75, None), (0.75, None), (0.75, 5)
    ]  # fmt: skip
    found = {row.name: row.accuracies for row in rows}
    assert found["float teacher"] == pytest.approx((0.031, 0.041))
    assert found["ternary, no teacher"] == pytest.approx((0.53, 0.54))
    assert found["ternary, teacher, fixed coefficient"] == pytest.approx((0.58, 0.59))
    assert found["ternary, teacher, annealed coefficient"] == pytest.approx((0.63, 0.64))
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert written["seeds"] == [3, 4]
    assert [row["name"] for row in written["rows"]] == list(found)
    for row, there in zip(rows, written["rows"], strict=True):
        assert (tuple(there["accuracies"]), there["mean"]) == (row.accuracies, row.mean)
        assert there["deviation"] == row.deviation
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_network_that_all_seeds_share_counts_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(comparison, "run", fake_run(calls))
    recipe = Recipe(student="cnn2", teacher="cnn4", pretrain_seed=0)
    rows = compare(recipe, tmp_path, [3, 4, 5])
    assert [len(row.accuracies) for row in rows] == [1, 1, 3, 3, 3]
    assert rows[0].deviation is None
    assert rows[2].accuracies == pytest.approx((0.53, 0.54, 0.55))


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """A comparison that is done, and the calls of `run` since."""
    calls = []

    def run(recipe, directory, products, command):
        RunDirectory(directory, recipe).begin(command)
        return fake_run(calls)(recipe, directory, products, command)

    monkeypatch.setattr(comparison, "run", run)
    recipe = Recipe(student="cnn2", teacher="cnn4")
    rows = compare(recipe, tmp_path / "runs", [0, 1])
    calls.clear()
    return recipe, tmp_path / "runs", rows, calls


def test_a_comparison_that_is_done_is_not_run_again(compared):
    recipe, directory, rows, calls = compared
    elsewhere = dataclasses.replace(recipe, data_dir="/elsewhere", jit_compile=True)
    assert compare(elsewhere, directory, [0, 1]) == rows
    assert calls == []


@pytest.mark.parametrize(
    ("changes", "seeds", "lines"),
    [
        ({"bits": 4}, [0, 1], ["  bits: 2 there, 4 given"]),
        ({}, [0, 1, 2], ["  seeds: [0, 1] there, [0, 1, 2] given"]),
        (
            {"seed": 7},
            [7, 8],
            ["  seed: 0 there, 7 given", "  seeds: [0, 1] there, [7, 8] given"],
        ),
    ],
)
def test_another_comparison_on_the_directory_is_refused(compared, changes, seeds, lines):
    recipe, directory, _, calls = compared
    before = (directory / "comparison.json").read_bytes()
    with pytest.raises(ValueError, match="A run directory belongs to one recipe") as error:
        compare(dataclasses.replace(recipe, **changes), directory, seeds)
    assert str(error.value).splitlines()[1:-1] == lines
    assert calls == []
    assert (directory / "comparison.json").read_bytes() == before


def test_a_comparison_that_was_interrupted_goes_on(compared):
    recipe, directory, rows, calls = compared
    (directory / "comparison.json").unlink()
    with pytest.raises(ValueError, match="bits: 2 there, 4 given"):
        compare(dataclasses.replace(recipe, bits=4), directory, [0, 1])
    assert compare(recipe, directory, [0, 1]) == rows
    assert len(calls) == 6


def test_a_comparison_that_was_refused_leaves_its_directory_to_another(tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("no data")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="no data"):
        patch.setattr(comparison, "run", refuse)
        compare(Recipe(bits=3), tmp_path, [0])
    monkeypatch.setattr(comparison, "run", fake_run([]))
    assert len(compare(Recipe(), tmp_path, [0])) == 5


def test_runs_and_comparisons_have_directories_of_their_own(compared, tmp_path):
    recipe, directory, _, _ = compared
    with pytest.raises(ValueError, match=r"holds a comparison\. Add --compare"):
        RunDirectory(directory, recipe)
    RunDirectory(tmp_path / "single", recipe).begin()
    with pytest.raises(ValueError, match=r"Received: .*/single, which holds a single run"):
        compare(recipe, tmp_path / "single", [0])


def test_several_teachers_have_a_row_each(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "run", fake_run([]))
    rows = compare(Recipe(student="cnn2", teacher="cnn4,cnn8"), tmp_path, [0])
    assert [row.name for row in rows][:3] == [
        "float teacher 1",
        "float teacher 2",
        "float student",
    ]
    assert [row.accuracies for row in rows][:2] == [(0.001,), (0.002,)]


def test_a_comparison_of_saved_models(tmp_path, on_numpy_front, no_training):
    split = load("digits").test
    for seed, role in enumerate(("teacher", "student")):
        save_model(tmp_path / f"{role}.keras", seed, image_shape=(8, 8, 1), classes=10)
    recipe = Recipe(
        dataset="digits",
        student=str(tmp_path / "student.keras"),
        teacher=str(tmp_path / "teacher.keras"),
        bits=32,
        quantized_epochs=0,
        formats=(),
    )
    right = {
        role: np.mean(
            numpy_front.load(tmp_path / f"{role}.keras")(split.images).argmax(1) == split.labels
        )
        for role in ("teacher", "student")
    }
    rows = compare(recipe, tmp_path / "runs", [0])
    assert [row.name for row in rows][:2] == ["float teacher", "float student"]
    assert rows[0].accuracies == (right["teacher"],)
    # No epoch has passed: every student is the float one.
    assert {row.accuracies for row in rows[1:]} == {(right["student"],)}
    assert {row.parameters for row in rows} == {650}
    products = [path.name.split("-")[0] for path in (tmp_path / "runs/products").glob("*/")]
    made = {stage: products.count(stage) for stage in set(products)}
    # Teacher, student and the three variants are measured, each once.
    assert made == {"quantized": 3, "measured": 5}
