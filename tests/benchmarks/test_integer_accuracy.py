import json
import pathlib
import types

from benchmarks import integer_accuracy
from benchmarks.integer_accuracy import Found
from tfqkd.recipe.recipe import Recipe

FLAGS = pathlib.Path(integer_accuracy.__file__).with_suffix(".flags")
RECIPE = Recipe(dataset="digits", teacher="none", formats=("litert-int2",))


def test_what_is_trained_on_differs_in_deploy_alone():
    first, trained_on, integers = integer_accuracy.recipes(RECIPE, epochs=2, rate=0.003)
    assert first == RECIPE.changed(formats=())
    assert trained_on.quantized.training.epochs == 2
    assert trained_on.quantized.training.learning_rate == 0.003
    assert integers == trained_on.changed({"quantize.deploy": True}, formats=("litert-w2a8",))


def test_both_of_a_seed_go_on_from_its_student(tmp_path, monkeypatch, capsys):
    calls = []

    def run(recipe, directory, products, data):
        calls.append((recipe.run.seed, recipe.student.network, recipe.quantize.deploy))
        directory.mkdir()
        (directory / "model.keras").touch()
        accuracy = 0.8 - 0.02 * recipe.quantize.deploy
        exported = [types.SimpleNamespace(accuracy=0.77)] * len(recipe.export.formats)
        student = types.SimpleNamespace(accuracy=accuracy, model="model.keras")
        return types.SimpleNamespace(student=student, export=exported)

    monkeypatch.setattr("tfqkd.training.run.run", run)
    monkeypatch.setattr("tfqkd.training.execution.load_data", lambda recipe: None)
    arguments = [f"--flagfile={FLAGS}", "--seed=4", "--repeats=2", f"--run_dir={tmp_path}"]
    assert integer_accuracy.main(["integer_accuracy", *arguments]) == 0
    expected = []
    for seed in (4, 5):
        start = str(tmp_path / f"student-seed{seed}" / "model.keras")
        expected += [(seed, "resnet20", False), (seed, start, False), (seed, start, True)]
    assert calls == expected
    assert json.loads((tmp_path / "accuracy.json").read_text()) == [
        {"seed": seed, "student": 0.8, "trained_on": 0.8, "integers": 0.78, "file": 0.77}
        for seed in (4, 5)
    ]
    assert "0.3 points of the student with float activations: not met (+3.00 lost)" in (
        capsys.readouterr().out
    )


def test_a_difference_is_taken_seed_by_seed_in_points():
    found = [Found(0, 0.5, 0.51, 0.502, 0.501), Found(1, 0.7, 0.69, 0.699, 0.697)]
    text = integer_accuracy.table(found).markdown()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    rows = {row[0]: row[1:] for row in rows}
    assert rows["ternary student, float activations"] == ["50.00", "70.00", "60.00 ± 14.14"]
    # Differences of 0.1 and -0.3: a mean of -0.1, a deviation of 0.4 / √2.
    assert rows["file minus student"] == ["+0.10", "-0.30", "-0.10 ± 0.28"]
    assert rows["file minus its Keras model"] == ["-0.10", "-0.20", "-0.15 ± 0.07"]
    assert integer_accuracy.verdict(found).endswith("met (+0.10 lost).")
