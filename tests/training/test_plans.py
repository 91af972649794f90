import dataclasses

import pytest

from tfqkd.fronts.settings import Capabilities
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.checking import _require_balance
from tfqkd.training.directory import RunDirectory, read_recipe
from tfqkd.training.execution import front_of, require_capable, with_precision
from tfqkd.training.plans import distillation_of
from tfqkd.training.presets import PAPER
from tfqkd.training.stage import plain


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
    monkeypatch.setattr("tfqkd.training.execution.choose", lambda name: name)
    two = Recipe(student="cnn2", teacher="cnn4")
    three = two.changed({"run.keras": 3})
    assert (front_of(two), front_of(three)) == ("tfmot", "keras3")
    for one, other in zip(PAPER(two), PAPER(three), strict=True):
        assert other.settings() == {**one.settings(), "keras": 3}


@pytest.mark.parametrize("combine", ["logits", "confidence"])
def test_several_teachers_are_combined_as_the_recipe_says(combine):
    settings = {"teacher.combine": combine, "temperature": 3.0}
    for teacher in ("cnn4", "cnn4,cnn8"):
        weighed = distillation_of(Recipe(settings, teacher=teacher))
        several = combine if "," in teacher else "logits"
        assert weighed.combination() == (several, 3.0)
        # Neither the key of what is trained so today changes, nor what a Distiller is asked for.
        assert ("combine" in plain(weighed)) == (several == "confidence")
        assert "combine" not in weighed.soft()


def test_a_method_that_reads_the_teacher_has_one_whatever_the_soft_loss_is():
    recipe = Recipe({"quantized.methods": ("rkd",)}, teacher="cnn4", coefficient=0.0)
    (*_, stage) = PAPER(recipe)
    assert [each.network for each in stage.teachers] == ["cnn4"]
    assert (stage.distillation, recipe.has_teacher) == (None, False)
    (*_, alone) = PAPER(recipe.changed({"quantized.methods": ()}, teacher="none"))
    assert alone.teachers == ()


def test_a_balanced_soft_loss_needs_a_front_that_finds_weights():
    recipe = Recipe({"distil.soft_weight": "balanced:1"})
    able = Capabilities(
        frozenset({"auto"}), frozenset({"float32"}), True, True, frozenset({"balanced"})
    )
    require_capable(able, recipe)
    with pytest.raises(
        ValueError, match=r"can be balanced.*Received: distil.soft_weight=balanced:1"
    ):
        require_capable(dataclasses.replace(able, methods=frozenset()), recipe)


@pytest.mark.parametrize(
    "settings",
    [
        {"distil.soft_weight": "balanced:1"},
        {"quantized.methods": ("rkd",), "quantized.rkd.weight": "balanced:1"},
    ],
)
def test_replicas_that_meet_within_a_step_find_no_weights(settings):
    recipe = Recipe({**settings, "run.synchronized_batch_norm": True}, teacher="cnn4")
    (*_, stage) = PAPER(recipe)
    _require_balance(stage, replicas=1)
    with pytest.raises(ValueError, match=r"of (soft_loss|rkd) on 2 replicas with synchronized"):
        _require_balance(stage, replicas=2)
    (*_, stage) = PAPER(recipe.changed({"run.synchronized_batch_norm": False}))
    _require_balance(stage, replicas=2)


@pytest.mark.parametrize(
    ("name", "value"), [("run.profile", "1,2"), ("run.steps_per_execution", 4)]
)
def test_what_a_backend_of_keras_3_lacks_is_refused(name, value):
    able = Capabilities(
        strategies=frozenset({"auto"}),
        precisions=frozenset({"float32"}),
        deterministic=True,
        jit_compile=True,
    )
    lacks = dataclasses.replace(able, **{name.removeprefix("run."): False})
    recipe = Recipe({name: value})
    require_capable(able, recipe)
    with pytest.raises(
        ValueError, match=f"`{name}` must be what this front does. Received: {name}={value}"
    ):
        require_capable(lacks, recipe)
    require_capable(lacks, Recipe())
