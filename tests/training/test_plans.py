import dataclasses

import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.training.directory import RunDirectory, read_recipe
from tfqkd.training.plans import front_of, with_precision
from tfqkd.training.presets import PAPER


@dataclasses.dataclass
class Machine:
    """A front as far as its machine goes."""

    native: bool

    def computes_in_bfloat16(self):
        return self.native


AUTO = Recipe({"run.mixed_precision": "auto"}, dataset="digits", student="cnn2", teacher="none")


@pytest.mark.parametrize(("native", "chosen"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_auto_is_what_the_machine_computes_in(capsys, native, chosen):
    assert with_precision(AUTO, Machine(native)) == AUTO.changed({"run.mixed_precision": chosen})
    assert capsys.readouterr().out == f"--run.mixed_precision=auto: {chosen} on this machine.\n"


def test_a_named_precision_stays():
    named = AUTO.changed({"run.mixed_precision": "mixed_float16"})
    assert with_precision(named, Machine(True)) is named


def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path):
    begun = AUTO.changed({"run.mixed_precision": "mixed_bfloat16"})
    RunDirectory(tmp_path, begun).begin()
    again = RunDirectory(tmp_path, AUTO)
    again.recipe = with_precision(again.recipe, Machine(False))
    again.begin()
    assert read_recipe(tmp_path) == again.recipe == begun
    with pytest.raises(ValueError, match="mixed_precision: 'mixed_bfloat16' there, 'float32'"):
        RunDirectory(tmp_path, AUTO.changed({"run.mixed_precision": "float32"}))


def test_the_front_is_that_of_the_keras_and_their_stages_are_not_the_same(monkeypatch):
    monkeypatch.setattr("tfqkd.training.plans.choose", lambda name: name)
    two = Recipe(student="cnn2", teacher="cnn4")
    three = two.changed({"run.keras": 3})
    assert (front_of(two), front_of(three)) == ("tfmot", "keras3")
    for one, other in zip(PAPER(two), PAPER(three), strict=True):
        assert other.settings() == {**one.settings(), "keras": 3}
