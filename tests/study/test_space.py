import itertools

import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.study.space import Listed, Range, apply, parse_space


def test_lists_and_ranges_are_read_with_the_types_of_their_fields():
    space = parse_space(
        [
            "temperature=1,2.5",
            "coefficient=0.1:0.9",
            "quantized.training.learning_rate=0.001:0.1:log",
            "training.batch_size=32:128",
            "teacher=wrn20x1.2, wrn20x2",
            "distil.scale_by_temperature_squared=true,False",
            "quantize.bits=2,3",
            'quantized.methods=,ema,"ema,gradual"',
        ]
    )
    assert space.axes == (
        Listed("temperature", (1.0, 2.5)),
        Range("coefficient", 0.1, 0.9),
        Range("quantized.training.learning_rate", 0.001, 0.1, log=True),
        Range("training.batch_size", 32, 128),
        Listed("teacher", ("wrn20x1.2", "wrn20x2")),
        Listed("distil.scale_by_temperature_squared", (True, False)),
        Listed("bits", (2, 3)),
        Listed("quantized.methods", ((), ("ema",), ("ema", "gradual"))),
    )
    assert isinstance(space.axes[0].values[0], float)
    assert isinstance(space.axes[3].low, int)
    assert not space.is_grid


def test_values_that_hold_commas_stand_in_quotes():
    (teachers, milestones) = parse_space(
        ['teacher="cnn4,cnn8",cnn8', 'training.milestones="0.5,0.75",0.6']
    ).axes
    assert teachers.values == ("cnn4,cnn8", "cnn8")
    assert milestones.values == ((0.5, 0.75), (0.6,))


@pytest.mark.parametrize(
    "text",
    [
        "temperature=1.0,2.5",
        "coefficient=0.1:0.9",
        "quantized.training.learning_rate=0.001:0.1:log",
        'training.milestones="0.5,0.75",0.6',
        'quantized.methods=,ema,"ema,gradual"',
        "data.flip=true,false",
    ],
)
def test_an_axis_as_text_is_read_as_itself(text):
    space = parse_space([text])
    assert str(space.axes[0]) == text
    assert parse_space([str(space.axes[0])]) == space


def test_corners_of_a_grid_are_all_its_settings():
    space = parse_space(["temperature=1,2", "coefficient=0.3,0.5,0.7"])
    assert space.is_grid
    expected = [
        {"temperature": t, "coefficient": c} for t, c in itertools.product((1, 2), (0.3, 0.5, 0.7))
    ]
    assert list(space.corners()) == expected


def test_corners_of_a_range_are_its_ends():
    space = parse_space(["coefficient=0.2:0.8", "bits=2"])
    assert list(space.corners()) == [
        {"coefficient": 0.2, "bits": 2},
        {"coefficient": 0.8, "bits": 2},
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "A study must vary something. Received: neither --vary nor --arm."),
        (["temperature"], "`vary` must be FIELD=VALUE,VALUE,... or FIELD=LOW:HIGH."),
        (
            ["temprature=1,2"],
            "A setting must be one of a recipe's. Received: 'temprature'. Did you mean temperature?",
        ),
        (["temperature="], "A varied field must have values to take."),
        (["temperature=1,,2"], "A varied field must have values to take."),
        (["temperature=1,two"], "`temperature` must be a number. Received: temperature=two."),
        (["bits=2.5"], "`bits` must be a whole number. Received: bits=2.5."),
        (["data.flip=yes,no"], "`data.flip` must be true or false. Received: data.flip=yes."),
        (["temperature=1,1.0"], "The values of a field must differ."),
        (["temperature=1,2", "temperature=3"], "A field can be varied only once."),
        (["temperature=5:5"], "A range must not be empty: LOW below HIGH."),
        (["temperature=5:1"], "A range must not be empty: LOW below HIGH."),
        (["temperature=nan:1"], "A range must not be empty: LOW below HIGH."),
        (["temperature=1:x"], "A range of `temperature` must be LOW:HIGH"),
        (["training.batch_size=1.5:3"], "two numbers of type int"),
        (["temperature=1:5:lin"], "A range must be LOW:HIGH or LOW:HIGH:log."),
        (["temperature=1:2:3:4"], "A range must be LOW:HIGH or LOW:HIGH:log."),
        (["training.label_smoothing=0:0.5:log"], "A logarithmic range must begin above 0."),
        (["quantized_epochs=1,2"], "`quantized_epochs` is now `quantized.training.epochs`."),
        (["seed=1,2"], "`seed` cannot be varied. Received: --vary=seed=... Set --repeats"),
        (["data.validation_split=0.1,0.2"], "`data.validation_split` cannot be varied."),
        (["formats=litert-int8"], "A varied field must change what is trained."),
        (["data_dir=a,b"], "A varied field must change what is trained."),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(texts, message):
    with pytest.raises(ValueError) as error:
        parse_space(texts)
    assert message in str(error.value)


def test_a_corner_that_the_recipe_refuses_is_named():
    recipe = Recipe({"distil.coefficient_end": 0.0})
    space = parse_space(["schedule=gradual,exponential", "temperature=1,2"])
    with pytest.raises(ValueError, match="must start and end above zero") as error:
        space.check(recipe)
    assert "(At the settings schedule=exponential, temperature=1.0 of the study.)" in str(
        error.value
    )
    with pytest.raises(ValueError, match=r"`coefficient` must be in \[0, 1\]"):
        parse_space(["coefficient=0.5:1.5"]).check(recipe)


def test_settings_replace_fields_and_lists_stand_for_tuples():
    recipe = apply(Recipe(), {"temperature": 3, "training.milestones": [0.25]})
    assert recipe == Recipe({"training.milestones": (0.25,)}, temperature=3.0)
