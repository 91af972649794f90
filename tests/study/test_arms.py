"""Arms: named settings, of which a trial takes one."""

import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.study.plan import Plan
from tfqkd.study.space import parse_space

ARMS = (
    "plain: teacher=none",
    "kd:",
    "rkd: coefficient=0 quantized.methods=rkd quantized.rkd.weight=balanced:1",
    "gradual: 'quantized.methods=gradual,ema' quantized.gradual.bits=8,4",
)


def plan(*vary, arms=ARMS):
    recipe = Recipe({"data.validation_split": 0.1, "quantized.training.epochs": 4}, teacher="cnn8")
    space = parse_space(vary, arms)
    settings = {"sampler": "grid", "trials": 0, "repeats": 2, "pruner": "none"}
    return Plan(recipe=recipe, space=space, **settings)


def test_a_trial_has_the_settings_of_its_arm():
    made = plan()
    plain, kd, rkd, gradual = [made.trial_recipe(each, False, 3) for each in made.grid()]
    assert [each.run.seed for each in (plain, kd, rkd, gradual)] == [3] * 4
    assert (plain.teachers(), kd.teachers()) == ((), ("cnn8",))
    # The method reads the teacher, who is in no soft loss.
    assert (rkd.teachers(), rkd.has_teacher, rkd.distils) == (("cnn8",), False, False)
    assert rkd.quantized.rkd.weight == "balanced:1"
    assert gradual.quantized.methods == ("gradual", "ema")
    assert gradual.quantized.gradual.bits == (8, 4)


def test_all_arms_have_one_control_of_what_they_share():
    assert plan().controls() == [{}]
    assert plan("bits=2,3").controls() == [{"bits": 2}, {"bits": 3}]
    recipe = plan().trial_recipe({}, True, 0)
    assert (recipe.distil.soft_loss, recipe.quantized.methods) == ("none", ())


def test_a_plan_with_arms_is_read_as_itself():
    made = plan("temperature=1,2")
    assert parse_space([str(axis) for axis in made.space.axes]) == made.space
    assert made.differences(made.to_json()) == {}
    other = plan("temperature=1,2", arms=ARMS[:3])
    assert list(made.differences(other.to_json())) == ["space"]


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (
            ["teacher=none"],
            "An arm must be NAME: FIELD=VALUE FIELD=VALUE. Received: 'teacher=none'",
        ),
        (["a: teacher"], "An arm's settings must be FIELD=VALUE. Received: 'teacher'."),
        (["a: bits=2", "a: bits=3"], "Arms must have different names. Received: a, a."),
        (["a: seed=1"], "`seed` cannot be varied."),
        (["a: temprature=1"], "A setting must be one of a recipe's."),
        (["a: temperature=0"], "`temperature` must be above 0"),
    ],
)
def test_arms_that_make_no_sense_are_refused(arms, message):
    with pytest.raises(ValueError) as error:
        plan(arms=arms)
    assert message in str(error.value)
