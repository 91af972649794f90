import json
import pathlib

import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.study.plan import Plan
from tfqkd.study.space import parse_space


def make(
    *vary, recipe=None, sampler="grid", trials=0, repeats=1, pruner="none", **settings
) -> Plan:
    return Plan(
        recipe=recipe or Recipe({"data.validation_split": 0.1, **settings}),
        space=parse_space(vary or ["temperature=1,2"]),
        sampler=sampler,
        trials=trials,
        repeats=repeats,
        pruner=pruner,
    )


def test_a_study_must_name_its_precision():
    with pytest.raises(
        ValueError, match=r"must compute in one precision.*Received: --run.mixed_prec"
    ):
        make(**{"run.mixed_precision": "auto"})


def test_seeds_go_up_from_that_of_the_recipe():
    assert list(make(repeats=3, seed=5).seeds) == [5, 6, 7]


def test_a_trial_has_its_settings_and_seed_and_no_exports():
    plan = make("temperature=1,4", coefficient=0.5)
    assert plan.trial_recipe({"temperature": 4.0}, control=False, seed=3) == Recipe(
        {"data.validation_split": 0.1}, coefficient=0.5, temperature=4.0, seed=3, formats=()
    )


def test_a_control_turns_the_teachers_term_off_and_keeps_the_schedule_of_the_hard_loss():
    plan = make("schedule=constant,gradual", coefficient=0.5)
    recipe = plan.trial_recipe({"schedule": "constant"}, control=True, seed=0)
    assert recipe.distil.soft_loss == "none"
    assert not recipe.has_teacher
    assert recipe.distils
    assert (recipe.distil.schedule, recipe.distil.coefficient) == ("constant", 0.5)


def test_there_is_a_control_for_every_value_that_matters_without_a_teacher():
    plan = make(
        "temperature=1,2",
        "teacher=cnn4,cnn8",
        "schedule=constant,gradual",
        "coefficient=0.3,0.7",
        "distil.soft_loss=kl,cross_entropy",
    )
    assert plan.controls() == [
        {"schedule": "constant", "coefficient": 0.3},
        {"schedule": "constant", "coefficient": 0.7},
        {"schedule": "gradual", "coefficient": 0.3},
        {"schedule": "gradual", "coefficient": 0.7},
    ]
    settings = {"temperature": 2.0, "teacher": "cnn4", "schedule": "gradual", "coefficient": 0.3}
    assert plan.control_of({**settings, "distil.soft_loss": "kl"}) == plan.controls()[2]


def test_a_control_of_a_range_has_the_recipes_own_value():
    plan = make("coefficient=0.1:0.9", "bits=2,3", sampler="tpe", trials=5)
    assert plan.controls() == [{"bits": 2}, {"bits": 3}]
    assert plan.trial_recipe({"bits": 3}, control=True, seed=0).distil.coefficient == 1.0


def test_temperature_alone_has_one_control():
    assert make("temperature=1,2,5").controls() == [{}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data.validation_split": 0.0}, "must hold back images to compare its trials on"),
        (
            {"trials": 5},
            "A grid tries every setting once. Received: --sampler=grid with --trials=5",
        ),
        ({"sampler": "tpe"}, "The sampler tpe must know how many settings to draw."),
        ({"sampler": "random", "trials": -1}, "Received: trials=-1."),
        ({"quantized.training.epochs": 0}, "A trial must train for an epoch to be measured."),
        (
            {"pruner": "hyperband", "quantized.training.epochs": 1},
            "gives trials up between epochs. Received: --pruner=hyperband with quantized.training.epochs=1",
        ),
        ({"teacher": "none"}, "Without a teacher `temperature` changes nothing."),
    ],
)
def test_settings_that_contradict_each_other_are_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        make(**arguments)
    assert message in str(error.value)


def test_a_grid_with_a_range_is_refused():
    with pytest.raises(ValueError, match=r"with the range coefficient=0.1:0.9. List values"):
        make("coefficient=0.1:0.9")


def test_the_epochs_are_those_of_all_trials():
    assert make("quantized.training.epochs=3,9,6").epochs == (3, 9)
    assert make("temperature=1,2", **{"quantized.training.epochs": 4}).epochs == (4, 4)


def test_a_range_of_epochs_must_not_begin_at_none():
    with pytest.raises(ValueError, match=r"Received: quantized.training.epochs=0"):
        make("quantized.training.epochs=0:5", sampler="random", trials=2)


def test_the_recipe_refuses_a_corner_before_any_trial():
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        make("temperature=0,1")


def test_a_plan_differs_from_another_in_what_changes_results():
    plan = make("temperature=1,2", repeats=2)
    assert plan.differences(plan.to_json()) == {}
    other = make("temperature=1,5", repeats=3, student="resnet32", data_dir="/elsewhere")
    assert other.differences(plan.to_json()) == {
        "student": ("resnet20", "resnet32"),
        "space": (["temperature=1.0,2.0"], ["temperature=1.0,5.0"]),
        "repeats": (2, 3),
    }


def test_a_plan_as_json_holds_the_whole_recipe():
    values = json.loads(make().to_json())
    assert Recipe.from_json(json.dumps(values["recipe"])) == Recipe({"data.validation_split": 0.1})
    assert values["sampler"] == "grid"


def test_a_plan_of_a_version_before_may_be_looked_at_but_not_gone_on_with():
    file = pathlib.Path(__file__).parents[1] / "recipe" / "recipe_of_before.json"
    here = make("quantized.training.learning_rate=0.001,0.1", "data.flip=true,false")
    old = {
        **json.loads(here.to_json()),
        "recipe": {**json.loads(file.read_text()), "validation_split": 0.1},
        "space": ["quantized_learning_rate=0.001,0.1", "flip=True,False"],
    }
    assert here.differences(json.dumps(old), finished=True) == {}
    with pytest.raises(ValueError, match=r"A run that an older version began cannot continue"):
        here.differences(json.dumps(old))
