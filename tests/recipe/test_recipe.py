import dataclasses
import json
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from tfqkd.recipe.distil import Distil
from tfqkd.recipe.flag_file import flag_file
from tfqkd.recipe.recipe import TRAINED, Recipe
from tfqkd.recipe.setting_names import SHORT
from tfqkd.recipe.training import Training

# For every setting: another valid value, and values it must refuse.
SETTINGS = {
    "data.dataset": ("digits", [1, None]),
    "data.dir": ("/data", [1]),
    "data.download": (True, [1, "yes", None]),
    "data.validation_split": (0.5, [-0.01, 0.51, float("nan"), "0.1", True]),
    "data.train_examples": (500, [-1, 0.5, True]),
    "data.image_size": ("24x32", [-1, 16.0, "x", "24x", "0x8", "-8", "8x8x3", None]),
    "data.crop_padding": (0, [-1, 2.0, "4"]),
    "data.centre_crop": (True, [0, "true"]),
    "data.stream": ("on", ["memory", True]),
    "data.resized_crop": (True, [1]),
    "data.flip": (False, [0, "false"]),
    "data.operations": (2, [-1, 1.5]),
    "data.magnitude": (15, [-1, 31, 2.5]),
    "data.mixup": (0.2, [-0.1, float("nan"), float("inf")]),
    "teacher.network": ("none", ["", "wrn20", "cnn4,", "cnn4,none", "no/such/model", ["cnn4"]]),
    "teacher.combine": ("confidence", ["mean", "", None]),
    "teacher.views": (4, [-1, 1.0, True]),
    "teacher.cache": ("cache", [1]),
    "teacher.cache_limit_gb": (0.5, [0.0, -1.0, float("inf")]),
    "teacher.weights": ("README.md", ["missing.h5", "tests", 1, None]),
    "student.weights": ("README.md", ["missing.h5", "tests", 1, None]),
    "student.network": (
        "cnn4",
        ["", "resnet21", "none", "cnn0", "cnn4,cnn8", "missing.keras", 20],
    ),
    "training.epochs": (1, [-1, 1.0, None]),
    "training.learning_rate": (1e-4, [0, -0.1, float("nan"), float("inf"), "0.1"]),
    "training.schedule": ("cosine", ["linear", ""]),
    "training.milestones": (
        (0.1, 0.2, 0.9),
        [(0.0,), (1.0,), (0.5, 0.5), (0.5, 0.25), 0.5, ("a",)],
    ),
    "training.factor": (2.0, [0.0, -0.1, float("nan")]),
    "training.warmup_epochs": (1.5, [-0.5, float("nan")]),
    "training.batch_size": (1, [0, -128, 64.0]),
    "training.momentum": (0.0, [-0.1, 1, 1.0, float("nan")]),
    "training.weight_decay": (0.0, [-1e-9, float("inf")]),
    "training.label_smoothing": (0.1, [-0.1, 1.0, float("nan")]),
    "training.class_weights": ("balanced", ["", "auto", True]),
    "training.patience": (3, [-1, 1.5]),
    "training.batch_norm": ("moving", ["train", "", None]),
    "quantize.bits": (32, [1, 0, -2, 9, 16, 31, 33, 2.0, True]),
    "quantize.quantizer": ("lsq", ["ternary", "", 2]),
    "quantize.granularity": ("channel", ["layer", "", 1]),
    "quantize.step_update": ("every_step", ["never", ""]),
    "quantize.activation_bits": (4, [1, 0, 9, 16, 33, 4.0, True]),
    "quantize.activation_quantizer": ("pact", ["uniform", "", None]),
    "quantize.gradient_bits": (6, [1, 9, 6.0, True]),
    "quantize.deploy": (True, [1, "yes"]),
    "quantize.layer_bits": (
        ("a.*=4", "b=c=float"),
        [("a=1",), ("a=9",), ("a=x",), ("a",), ("=4",), ("a=4/9",), ("a=4/4/4",), ("a=4/",), "a=4"],
    ),
    "quantized.methods": (("ema",), [("swa",), ("ema", "ema"), "ema"]),
    "quantized.ema.momentum": (0.5, [-0.1, 0.0, 1.0, float("nan")]),
    "quantized.gradual.bits": ((8, 4), [(2,), (4, 8), (9,), (8, 8), ("x",), 8]),
    "quantized.gradual.share": ((0.5, 0.75), [(0.0,), (1.0,), (0.5, 0.5), ("x",), 0.5]),
    "distil.temperature": (0.5, [0, -1, float("nan"), float("inf"), None]),
    "distil.coefficient": (0.5, [-0.1, 1.1, float("nan"), "1"]),
    "distil.schedule": ("constant", ["linear", "", None]),
    "distil.coefficient_end": (1.0, [-0.1, 1.1, float("nan")]),
    "distil.schedule_on": ("step", ["batch", ""]),
    "distil.soft_loss": ("none", ["mse", "", None]),
    "distil.soft_weight": ("balanced:0.5", [-0.1, float("inf"), "balanced:0", "much"]),
    "distil.dkd_beta": (2.0, [-1.0, float("nan")]),
    "distil.scale_by_temperature_squared": (False, [1, "no"]),
    "distil.float_student": (True, [1, "yes"]),
    "progressive.epochs": ((0, 0, 5), [(1,), (-1, 0, 0), (1, 1), 3, ("x",)]),
    "progressive.data": ("digits", [1, None]),
    "progressive.teacher": ("./tests", [1, None]),
    "progressive.weight": (0.5, [-0.1, float("inf")]),
    "progressive.last_weight": (0.0, [-0.1, float("nan")]),
    "run.seed": (2**31 - 1, [-1, 2**31, 1.0, True]),
    "run.pretrain_seed": (7, [-2, 2**31, 0.0]),
    "run.mixed_precision": ("mixed_bfloat16", ["float16", ""]),
    "run.keras": (3, [1, 4, 2.0, "3", None]),
    "run.strategy": ("mirrored", ["tpu", ""]),
    "run.synchronized_batch_norm": (True, [1]),
    "run.jit_compile": (True, [1]),
    "run.scan": ("off", ["yes", "", True]),
    "run.steps_per_execution": (10, [0, -1, 1.0]),
    "run.profile": ("5,9", ["5", "0,3", "9,5", "5-9", "a,b", "5,9,", "1,２", 5]),
    "run.deterministic": (True, [1]),
    "run.checkpoint_every": ("500", ["0", "-1m", "1.5m", "5s", "m", "often", 500]),
    "run.checkpoints_kept": (2, [0, 1.0]),
    "export.arena_bytes": (100_000, [-1, 1.5]),
    "export.formats": ((), [("onnx",), ("litert-int8", "tflite"), "litert-int8", (1,), ("",)]),
}
SETTINGS |= {
    f"{stage}.{name}": (value, [each for each in bad if each is not None])
    for stage in TRAINED
    for name, (value, bad) in SETTINGS.items()
    if name.startswith("training.")
}
# What a setting is changed in.
BASES = {
    "export.arena_bytes": {"export.formats": ["tflm"], "quantize.deploy": True},
    **{
        f"{stage}training.patience": {"data.validation_split": 0.1}
        for stage in ("", "teacher.", "student.", "quantized.")
    },
    "quantize.gradient_bits": {"quantizer": "dorefa"},
    "teacher.cache": {"teacher.views": 16},
    "teacher.weights": {"teacher": "applications:MobileNet"},
    "student.weights": {"student": "applications:MobileNet"},
    "quantized.ema.momentum": {"quantized.methods": ["ema"]},
    "progressive.data": {"progressive.epochs": [0, 0, 1]},
    "progressive.teacher": {"progressive.epochs": [0, 0, 1]},
    "quantized.gradual.bits": {"quantized.methods": ["gradual"], "quantized.gradual.share": [0.1]},
    "quantized.gradual.share": {
        "quantized.methods": ["gradual"],
        "quantized.gradual.bits": [8],
    },
}


def based(name, value=None):
    """A recipe in which the setting may be changed; changed, if there is a value."""
    return Recipe({**BASES.get(name, {}), **({} if value is None else {name: value})})


def test_the_table_covers_every_setting():
    assert set(SETTINGS) == set(Recipe.settings(("ema", "gradual")))


@pytest.mark.parametrize(
    ("name", "value"), [(name, bad) for name, row in SETTINGS.items() for bad in row[1]]
)
def test_a_value_that_breaks_a_rule_is_refused_by_the_name_of_its_setting(name, value):
    label = Recipe.setting(name).label
    with pytest.raises(ValueError, match=rf"`{label}`.*Received: ") as error:
        Recipe({**BASES.get(name, {}), name: value})
    assert "\n" not in str(error.value)


def test_a_refusal_says_the_rule_and_what_was_received():
    for given, message in (
        ({"temperature": -1}, "`temperature` must be above 0. Received: temperature=-1.0."),
        (
            {"quantize.granularity": "layer"},
            "`quantize.granularity` must be one of tensor, channel. "
            "Received: quantize.granularity=layer.",
        ),
        (
            {"teacher.training.epochs": -1},
            "`teacher.training.epochs` must be 0 or more. Received: teacher.training.epochs=-1.",
        ),
    ):
        with pytest.raises(ValueError) as error:
            Recipe(given)
        assert str(error.value) == message


def test_a_setting_has_a_short_name_or_its_own():
    assert all(name in Recipe.settings() for name in SHORT.values())
    assert Recipe(temperature=3) == Recipe({"distil.temperature": 3.0})
    recipe = Recipe(bits=4, teacher="cnn4")
    assert (recipe.value("bits"), recipe.value("quantize.bits"), recipe.quantize.bits) == (4, 4, 4)
    assert recipe.teacher.network == recipe.value("teacher") == "cnn4"


def test_a_recipe_is_made_of_groups_too():
    recipe = Recipe(distil=Distil(temperature=3), training=Training(milestones=[0.5]))
    assert recipe == Recipe({"training.milestones": (0.5,)}, temperature=3.0)
    assert type(recipe.distil.temperature) is float
    with pytest.raises(ValueError, match=r"`temperature` must be above 0"):
        Recipe(distil=Distil(temperature=0))
    with pytest.raises(ValueError, match=r"either groups or settings by name\. Received: both"):
        dataclasses.replace(recipe, temperature=2.0)
    with pytest.raises(
        ValueError, match=r"groups are data, .*Received: distil, of the class Train"
    ):
        Recipe(distil=Training())


@pytest.mark.parametrize("stage", TRAINED)
def test_a_stage_trains_as_it_says_itself_and_as_all_do(stage):
    recipe = Recipe({f"{stage}.training.epochs": 7, "training.momentum": 0.5, "training.epochs": 9})
    assert recipe.training_of(stage) == dataclasses.replace(
        recipe.training, epochs=7, learning_rate=0.01 if stage == "quantized" else 0.1
    )
    assert recipe.value(f"{stage}.training.epochs") == 7
    assert recipe.value(f"{stage}.training.momentum") == 0.5
    assert recipe.changed({"training.momentum": 0.25}).training_of(stage).momentum == 0.25


def test_the_quantized_stage_has_defaults_of_its_own():
    quantized, student = (Recipe().training_of(stage) for stage in ("quantized", "student"))
    assert (quantized.epochs, quantized.learning_rate) == (100, 0.01)
    assert (student.epochs, student.learning_rate) == (200, 0.1)
    assert dataclasses.replace(quantized, epochs=200, learning_rate=0.1) == student
    shared = Recipe({"quantized.training.epochs": None})
    assert shared.training_of("quantized").epochs == 200
    assert Recipe.from_json(shared.to_json()) == shared


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ({}, "ternary student, gradual coefficient"),
        ({"quantizer": "twn"}, "ternary student, gradual coefficient"),
        ({"quantizer": "lsq"}, "2-bit student, gradual coefficient"),
        (
            {"bits": 4, "quantize.activation_bits": 8, "teacher": "none"},
            "4-bit (8-bit activations) student, no teacher",
        ),
    ],
)
def test_the_title_tells_the_widths(settings, title):
    assert Recipe(settings).title == title


@pytest.mark.parametrize(
    ("changes", "has_teacher", "distils", "title"),
    [
        ({}, True, True, "ternary student, gradual coefficient"),
        ({"bits": 4, "schedule": "constant"}, True, True, "4-bit student, constant coefficient"),
        ({"bits": 32, "distil.soft_loss": "kl"}, True, True, "float student, gradual coefficient"),
        ({"teacher": "none"}, False, False, "ternary student, no teacher"),
        ({"teacher": "none", "bits": 32}, False, False, "float student, no teacher"),
        ({"distil.soft_loss": "none"}, False, True, "ternary student, control"),
        (
            {"distil.soft_loss": "none", "teacher": "none"},
            False,
            True,
            "ternary student, control",
        ),
        # A coefficient that is never above zero silences the teacher; one that rises does not.
        ({"coefficient": 0.0}, False, False, "ternary student, no teacher"),
        (
            {"coefficient": 0.0, "schedule": "step", "distil.coefficient_end": 0.5},
            False,
            False,
            "ternary student, no teacher",
        ),
        (
            {"coefficient": 0.0, "schedule": "constant", "distil.coefficient_end": 0.5},
            False,
            False,
            "ternary student, no teacher",
        ),
        (
            {"coefficient": 0.0, "distil.coefficient_end": 0.5},
            True,
            True,
            "ternary student, gradual coefficient",
        ),
        (
            {"coefficient": 0.0, "distil.coefficient_end": 0.5, "schedule": "cosine"},
            True,
            True,
            "ternary student, cosine coefficient",
        ),
    ],
)
def test_what_a_recipe_trains_last(changes, has_teacher, distils, title):
    recipe = Recipe(changes)
    assert (recipe.has_teacher, recipe.distils, recipe.title) == (has_teacher, distils, title)
    assert recipe.teachers() == (("wrn20x2",) if has_teacher else ())


def test_whole_numbers_of_a_json_file_become_floats_and_lists_tuples():
    recipe = Recipe({"training.milestones": [0.25, 0.5]}, temperature=3, formats=["litert-int8"])
    assert (recipe.distil.temperature, type(recipe.distil.temperature)) == (3.0, float)
    assert recipe.training.milestones == (0.25, 0.5)
    assert recipe.export.formats == ("litert-int8",)


@pytest.mark.parametrize(
    ("role", "network"),
    [
        ("student", "cnn4"),
        ("student", "tests/"),
        ("teacher", "none"),
        ("teacher", "applications:MobileNet,applications:MobileNetV2"),
    ],
)
def test_weights_are_of_one_network_of_keras_applications(role, network):
    message = rf"`{role}\.weights` must be those of one network of keras\.applications"
    with pytest.raises(ValueError, match=message):
        Recipe({role: network, f"{role}.weights": "README.md"})


HOW = {
    "data.dir",
    "data.download",
    "data.stream",
    "teacher.cache",
    "teacher.cache_limit_gb",
    "run.strategy",
    "run.jit_compile",
    "run.scan",
    "run.steps_per_execution",
    "run.profile",
    "run.deterministic",
    "run.checkpoint_every",
    "run.checkpoints_kept",
}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_differences_are_the_settings_that_change_a_result(name):
    plain, changed = based(name), based(name, SETTINGS[name][0])
    names = [name]
    if name in ("training.epochs", "training.learning_rate"):
        # The quantized stage says its own.
        names = [f"{stage}.{name}" for stage in ("teacher", "student")]
    label = Recipe.setting(name).label
    expected = {
        label if each == name else each: (plain.value(name), SETTINGS[name][0]) for each in names
    }
    assert plain.differences(changed) == ({} if name in HOW else expected)
    assert changed.differences(changed) == {}


def test_the_same_training_said_in_another_way_is_no_difference():
    everywhere = Recipe({"training.momentum": 0.5})
    each = Recipe({f"{stage}.training.momentum": 0.5 for stage in TRAINED})
    assert everywhere != each
    assert everywhere.differences(each) == {}
    assert Recipe().differences(each) == {"training.momentum": (0.9, 0.5)} or set(
        Recipe().differences(each)
    ) == {f"{stage}.training.momentum" for stage in TRAINED}


def test_asking_for_a_cache_asks_for_sixteen_views():
    assert Recipe({"teacher.cache": "cache"}).teacher.views == 16
    assert Recipe({"teacher.cache": "cache", "teacher.views": 4}).teacher.views == 4


def test_the_float_stages_have_the_seed_of_the_run_or_one_of_their_own():
    recipe = Recipe({"run.pretrain_seed": 5}, seed=1)
    assert [recipe.seed_of(stage) for stage in TRAINED] == [5, 5, 1]
    assert [Recipe(seed=3).seed_of(stage) for stage in TRAINED] == [3, 3, 3]


def test_a_recipe_survives_json():
    recipe = Recipe(
        {
            **{name: value for name, (value, _) in SETTINGS.items()},
            "quantizer": "uniform",
            "bits": 3,
            "quantize.gradient_bits": 32,
            "quantize.deploy": False,
            "run.profile": "",
            "progressive.epochs": (),
            "progressive.data": "",
            "progressive.teacher": "",
            "teacher.weights": "",
            "student.weights": "",
            "quantized.methods": ["ema", "gradual"],
            "quantized.training.epochs": 3,
            "distil.coefficient": 0.125,
            "data.mixup": 0.0,
        }
    )
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(Recipe().to_json()) == Recipe()
    assert Recipe.from_json("{}") == Recipe()
    values = json.loads(recipe.to_json())
    assert values["quantize"]["layer_bits"] == ["a.*=4", "b=c=float"]
    assert values["quantized"]["ema"] == {"momentum": 0.5}
    assert set(json.loads(Recipe().to_json())["quantized"]) == {"training", "methods"}


def test_what_is_left_to_the_machine_stays_as_a_run_was_begun():
    begun = Recipe({"run.mixed_precision": "float32", "data.stream": "on", "run.seed": 3})
    left = Recipe({"run.mixed_precision": "auto"})
    assert left.resumed_as(begun) == Recipe({"run.mixed_precision": "float32", "data.stream": "on"})
    said = Recipe({"run.mixed_precision": "mixed_bfloat16", "data.stream": "off"})
    assert said.resumed_as(begun) == said


@pytest.mark.parametrize("text", ["[1]", '{"temprature": 2}', '"digits"', "{", "1", "null"])
def test_json_that_is_no_recipe_is_refused(text):
    with pytest.raises(ValueError, match="Received: "):
        Recipe.from_json(text)


def test_an_unknown_setting_is_named():
    message = "one of a recipe's. Received: 'temprature'. Did you mean temperature?"
    with pytest.raises(ValueError, match=message):
        Recipe.from_json('{"temprature": 2, "bits": 4}')
    with pytest.raises(ValueError, match=message):
        Recipe(temprature=2)
    with pytest.raises(ValueError, match=message):
        Recipe().changed(temprature=2)


def test_a_recipe_is_fixed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().distil = Distil()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().distil.temperature = 3.0


def test_a_flag_file_says_what_is_not_at_its_default():
    assert flag_file(Recipe()) == ""
    recipe = Recipe(
        {
            "quantized.training.epochs": 3,
            "data.flip": False,
            "training.milestones": (0.5, 0.75, 0.9),
        },
        dataset="digits",
    )
    assert flag_file(recipe).splitlines() == [
        "--dataset=digits",
        "--data.flip=false",
        "--training.milestones=0.5,0.75,0.9",
        "--quantized.training.epochs=3",
    ]


def positive(largest):
    return st.floats(1e-12, largest, allow_nan=False)


SHARE = st.floats(0, 1)
BELOW_ONE = st.floats(0, 1, exclude_max=True)
INSIDE = st.floats(0, 1, exclude_min=True, exclude_max=True)
RISING = st.lists(INSIDE, unique=True).map(lambda shares: tuple(sorted(shares)))
COUNT = st.integers(0, 10**9)
SEED = st.integers(0, 2**31 - 1)
WIDTH = st.integers(2, 8) | st.just(32)
MODEL = st.one_of(
    st.integers(1, 20).map(lambda n: f"resnet{6 * n + 2}"),
    st.integers(1, 99).map(lambda n: f"cnn{n}"),
    st.sampled_from(["wrn20x1.7", "wrn56x5", "vgg7", "vgg7x0.5"]),
)
RULE = st.tuples(
    st.text("abc=.*_19", min_size=1).filter(lambda text: not text.startswith("*")),
    st.one_of(st.just("float"), st.integers(2, 8).map(str)),
).map("=".join)
VALUES = {
    "data.dataset": st.text(),
    "data.dir": st.text(),
    "data.validation_split": st.floats(0, 0.5),
    "data.train_examples": COUNT,
    "data.image_size": COUNT | st.just("24x32"),
    "data.crop_padding": COUNT,
    "data.operations": COUNT,
    "data.magnitude": st.integers(0, 30),
    "data.mixup": st.just(0.0),
    "student.network": MODEL,
    "teacher.network": st.lists(MODEL, min_size=1, max_size=3, unique=True).map(",".join)
    | st.just("none"),
    "teacher.weights": st.just(""),
    "student.weights": st.just(""),
    "teacher.combine": st.sampled_from(["logits", "probabilities", "confidence"]),
    "teacher.views": COUNT,
    "teacher.cache": st.text(),
    "teacher.cache_limit_gb": positive(1e12),
    "training.epochs": COUNT,
    "training.learning_rate": positive(1e12),
    "training.milestones": RISING,
    "training.factor": positive(1e12),
    "training.warmup_epochs": st.floats(0, 1e12),
    "training.batch_size": st.integers(1, 10**9),
    "training.momentum": BELOW_ONE,
    "training.weight_decay": st.floats(0, 1e12),
    "training.label_smoothing": BELOW_ONE,
    "training.patience": st.just(0),
    "quantize.bits": WIDTH,
    "quantize.activation_bits": WIDTH,
    "quantize.gradient_bits": WIDTH,
    "quantize.layer_bits": st.lists(RULE.filter(lambda rule: "**" not in rule)).map(tuple),
    "quantized.methods": st.lists(st.sampled_from(["ema", "gradual"]), unique=True).map(tuple),
    "quantized.ema.momentum": INSIDE,
    "quantized.gradual.bits": st.just(()),
    "quantized.gradual.share": RISING,
    "distil.temperature": positive(1e12),
    "distil.coefficient": st.floats(1e-9, 1),
    "distil.coefficient_end": st.floats(1e-9, 1),
    "distil.soft_weight": st.floats(0, 1e12) | st.just("balanced:0.5"),
    "distil.dkd_beta": st.floats(0, 1e12),
    "progressive.epochs": st.just(()),
    "progressive.data": st.just(""),
    "progressive.teacher": st.just(""),
    "progressive.weight": st.floats(0, 1e12),
    "progressive.last_weight": st.floats(0, 1e12),
    "run.seed": SEED,
    "run.pretrain_seed": SEED | st.just(-1),
    "run.keras": st.sampled_from([2, 3]),
    "run.steps_per_execution": st.integers(1, 10**9),
    "run.profile": st.tuples(st.integers(1, 99), st.integers(0, 99)).map(
        lambda p: f"{p[0]},{sum(p)}"
    ),
    "run.checkpoint_every": st.from_regex(r"([1-9][0-9]{0,8}m?)?", fullmatch=True),
    "run.checkpoints_kept": st.integers(1, 10**9),
    "export.arena_bytes": st.just(0),
    "export.formats": st.lists(
        st.sampled_from(["saved_model", "litert-float32", "litert-int8"]), unique=True
    ).map(tuple),
    **{
        name: st.sampled_from(setting.choices)
        for name, setting in Recipe.settings().items()
        if setting.choices and not setting.base
    },
    **{
        name: st.booleans()
        for name, setting in Recipe.settings().items()
        if isinstance(setting.default, bool)
    },
}
VALUES |= {
    f"{stage}.{name}": values
    for stage in TRAINED
    for name, values in VALUES.items()
    if name.startswith("training.")
}


def consistent(values):
    """Makes settings fit each other, as they are checked together."""
    changes = {}
    quantizer, methods = values.get("quantize.quantizer", "uniform"), values["quantized.methods"]
    if quantizer != "uniform":
        changes |= {"quantize.step_update": "once", "quantize.granularity": "tensor"}
    if quantizer != "dorefa":
        changes["quantize.gradient_bits"] = 32
    if quantizer in ("twn", "absmean", "ttq"):
        changes["quantize.bits"] = 2
    if values.get("distil.schedule") == "step":
        changes |= {name: 0.5 for name in values if name.endswith("training.factor")}
    if {**values, **changes}.get("quantize.bits") == 32:
        changes["quantize.activation_bits"] = 32
        changes["quantize.deploy"] = False
    if {**values, **changes}.get("quantize.deploy"):
        changes["quantize.activation_bits"] = 32
    on_device = values.get("data.stream") != "on" and not values.get("data.operations")
    if values.get("run.keras") != 3 or not on_device or values.get("data.resized_crop"):
        changes["run.scan"] = "auto"
    if values.get("run.keras") == 3:
        changes["run.profile"] = ""
    kept = {**values, **changes}
    shares = kept.get("quantized.gradual.share", ())
    if not shares or kept.get("quantize.bits") == 32:
        methods = tuple(name for name in methods if name != "gradual")
    kept["quantized.methods"] = methods
    kept["quantized.training.epochs"] = max(
        len(shares) + 1, values.get("quantized.training.epochs", 100)
    )
    idle = tuple(f"quantized.{name}." for name in ("ema", "gradual") if name not in methods)
    return {name: value for name, value in kept.items() if not (idle and name.startswith(idle))}


@hypothesis.given(
    st.fixed_dictionaries(
        {"quantized.methods": VALUES["quantized.methods"]},
        optional={name: each for name, each in VALUES.items() if name != "quantized.methods"},
    ).map(consistent)
)
def test_every_valid_recipe_survives_json_and_flags(values):
    assert set(VALUES) == set(Recipe.settings(("ema", "gradual")))
    # An exponential schedule needs an end above zero; the default is zero.
    recipe = Recipe({"distil.coefficient_end": 0.5, **values})
    assert Recipe.from_json(recipe.to_json()) == recipe
    if values.get("teacher.cache") and not values.get("teacher.views"):
        values["teacher.views"] = 16
    for name, value in values.items():
        assert recipe.value(name) == value
    assert recipe.differences(Recipe.from_json(recipe.to_json())) == {}
    said = {
        name: setting.read(text)
        for name, setting in Recipe.settings(recipe.quantized.methods).items()
        for text in [_text_of(recipe, name)]
        if text is not None
    }
    assert Recipe(said) == recipe


def _text_of(recipe, name):
    from tfqkd.recipe.setting_names import value_of
    from tfqkd.recipe.values import to_text

    value = value_of(recipe, name)
    # What is at its default is not said; text at the edges of lists is stripped.
    return None if value == Recipe.setting(name).default else to_text(value)


def test_a_recipe_needs_nothing_heavy():
    code = (
        "import sys, time; start = time.process_time(); from tfqkd.recipe.recipe import Recipe; "
        "Recipe({'quantize.layer_bits': ('a=4',)}); seconds = time.process_time() - start; "
        "print([m for m in ('tensorflow', 'keras', 'tf_keras', 'numpy') if m in sys.modules], seconds < 0.2)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[] True\n"


def test_a_size_of_equal_sides_is_the_square_that_it_says():
    recipes = [Recipe({"data.image_size": size}) for size in (16, "16", "16x16")]
    assert [recipe.data.image_size for recipe in recipes] == [16, 16, 16]
    assert Recipe({"data.image_size": "0"}).data.image_size == 0
    recipe = Recipe.from_json(Recipe({"data.image_size": "24x32"}).to_json())
    assert recipe.data.image_size == "24x32"
