import json
import pathlib

import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.renamed import RENAMED
from tfqkd.recipe.setting_names import SHORT

# As the last version with flat names wrote its defaults.
OLD = json.loads((pathlib.Path(__file__).parent / "recipe_of_before.json").read_text())


def test_every_setting_of_before_has_a_name_now():
    assert set(OLD) == set(RENAMED) | set(SHORT)
    assert set(RENAMED.values()) <= set(Recipe.settings(("ema", "gradual")))


@pytest.mark.parametrize("name", list(RENAMED))
def test_a_name_of_before_is_refused_with_the_new_one(name):
    message = f"`{name}` is now `{RENAMED[name]}`. Received: {name}. Use the new name."
    with pytest.raises(ValueError) as error:
        Recipe({name: OLD[name]})
    assert str(error.value) == message
    with pytest.raises(ValueError, match=r"cannot continue: .*Start again") as error:
        Recipe.from_json(json.dumps({name: OLD[name]}))
    assert f"`{name}` is now `{RENAMED[name]}`" in str(error.value)


def test_a_finished_recipe_of_before_is_read_as_what_it_was():
    assert Recipe.from_json(json.dumps(OLD), finished=True).differences(Recipe()) == {}
    changed = {
        "dataset": "digits",
        "teacher_epochs": 3,
        "learning_rate": 0.2,
        "learning_rate_schedule": "cosine",
        "quantized_learning_rate": 0.05,
        "ema": 0.9,
        "gradual_bits": ["8", "4"],
        "gradual_share": ["0.5"],
        "distil_float": True,
        "layer_bits": ["a=4"],
    }
    recipe = Recipe.from_json(json.dumps({**OLD, **changed}), finished=True)
    expected = Recipe(
        {
            "teacher.training.epochs": 3,
            "training.learning_rate": 0.2,
            "training.schedule": "cosine",
            "quantized.training.learning_rate": 0.05,
            "quantized.methods": ["ema", "gradual"],
            "quantized.ema.momentum": 0.9,
            "quantized.gradual.bits": [8, 4],
            "quantized.gradual.share": [0.5],
            "distil.float_student": True,
            "quantize.layer_bits": ["a=4"],
        },
        dataset="digits",
    )
    assert recipe.differences(expected) == {}


def test_a_finished_recipe_of_now_is_read_as_it_is():
    recipe = Recipe({"training.epochs": 3}, dataset="digits")
    assert Recipe.from_json(recipe.to_json(), finished=True) == recipe
