import dataclasses
import json
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from tfqkd.training.recipe import Recipe
from tfqkd.training.settings import EXPORT, QUANTIZED, STAGES, STUDENT, TEACHER

# For every setting: another valid value, the stages whose result it changes, and values it must refuse.
SETTINGS = {
    "dataset": ("digits", "tsq", [1, None]),
    "data_dir": ("/data", "", [1]),
    "download": (True, "", [1, "yes", None]),
    "validation_split": (0.5, "tsq", [-0.01, 0.51, float("nan"), "0.1", True]),
    "train_examples": (500, "tsq", [-1, 0.5, True]),
    "image_size": ("24x32", "tsq", [-1, 16.0, "x", "24x", "0x8", "-8", "8x8x3", None]),
    "crop_padding": (0, "tsq", [-1, 2.0, "4"]),
    "flip": (False, "tsq", [0, "false"]),
    "student": ("cnn4", "s", ["", "resnet21", "none", "cnn0", "cnn4,cnn8", "missing.keras", 20]),
    "teacher": ("none", "t", ["", "wrn20", "cnn4,", "cnn4,none", "no/such/model", ["cnn4"]]),
    "teacher_epochs": (0, "t", [-1, 1.0]),
    "student_epochs": (1, "s", [-1, 1.0]),
    "learning_rate": (1e-4, "ts", [0, -0.1, float("nan"), float("inf"), "0.1"]),
    "pretrain_seed": (7, "ts", [-2, 2**31, 0.0]),
    "bits": (32, "q", [1, 0, -2, 9, 16, 31, 33, 2.0, True]),
    "quantizer": ("lsq", "q", ["ternary", "", 2]),
    "granularity": ("channel", "q", ["layer", "", 1]),
    "step_update": ("every_step", "q", ["never", ""]),
    "activation_bits": (4, "q", [1, 0, 9, 16, 33, 4.0, True]),
    "activation_quantizer": ("pact", "q", ["uniform", "", None]),
    "gradient_bits": (6, "q", [1, 9, 6.0, True]),
    "layer_bits": (
        ("a.*=4", "b=c=float"),
        "q",
        [("a=1",), ("a=9",), ("a=x",), ("a",), ("=4",), ("a=4/9",), ("a=4/4/4",), ("a=4/",)],
    ),
    "gradual_bits": (("8", "4"), "q", [("2",), ("4", "8"), ("9",), ("8", "8"), ("x",), 8]),
    "gradual_share": (("0.5", "0.75"), "q", [("0",), ("1",), ("0.5", "0.5"), ("x",), 0.5]),
    "ema": (0.99, "q", [-0.1, 1.0, float("nan")]),
    "quantized_epochs": (3, "q", [-1, 1.5]),
    "quantized_learning_rate": (1.0, "q", [0.0, -1e-9, float("inf")]),
    "temperature": (0.5, "q", [0, -1, float("nan"), float("inf"), None]),
    "coefficient": (0.5, "q", [-0.1, 1.1, float("nan"), "1"]),
    "schedule": ("constant", "q", ["linear", "", None]),
    "coefficient_end": (1.0, "q", [-0.1, 1.1, float("nan")]),
    "schedule_on": ("step", "q", ["batch", ""]),
    "soft_loss": ("none", "q", ["mse", "", None]),
    "soft_weight": (10.0, "q", [-0.1, float("inf")]),
    "dkd_beta": (2.0, "q", [-1.0, float("nan")]),
    "scale_by_temperature_squared": (False, "q", [1, "no"]),
    "distil_float": (True, "s", [1, "yes"]),
    "teacher_views": (4, "q", [-1, 1.0, True]),
    "teacher_cache": ("cache", "", [1]),
    "teacher_cache_limit_gb": (0.5, "", [0.0, -1.0, float("inf")]),
    "batch_size": (1, "tsq", [0, -128, 64.0]),
    "momentum": (0.0, "tsq", [-0.1, 1, 1.0, float("nan")]),
    "weight_decay": (0.0, "tsq", [-1e-9, float("inf")]),
    "learning_rate_schedule": ("cosine", "tsq", ["linear", ""]),
    "milestones": ((0.1, 0.2, 0.9), "tsq", [(0.0,), (1.0,), (0.5, 0.5), (0.5, 0.25), 0.5, ("a",)]),
    "learning_rate_factor": (2.0, "tsq", [0.0, -0.1, float("nan")]),
    "warmup_epochs": (1.5, "tsq", [-0.5, float("nan")]),
    "batch_norm": ("moving", "tsq", ["train", "", None]),
    "label_smoothing": (0.1, "tsq", [-0.1, 1.0, float("nan")]),
    "seed": (2**31 - 1, "q", [-1, 2**31, 1.0, True]),
    "formats": ((), "e", [("onnx",), ("litert-int8", "tflite"), "litert-int8", (1,), ("",)]),
    "mixed_precision": ("mixed_bfloat16", "tsq", ["float16", ""]),
    "strategy": ("mirrored", "", ["tpu", ""]),
    "synchronized_batch_norm": (True, "tsq", [1]),
    "jit_compile": (True, "", [1]),
    "steps_per_execution": (10, "", [0, -1, 1.0]),
    "profile": ("5,9", "", ["5", "0,3", "9,5", "5-9", "a,b", "5,9,", "1,２", 5]),
    "deterministic": (True, "", [1]),
    "checkpoint_every": ("500", "", ["0", "-1m", "1.5m", "5s", "m", "often", 500]),
    "checkpoints_kept": (2, "", [0, 1.0]),
}
# What a setting is changed in: a place of a cache is one only where there is a cache.
BASES = {
    "gradient_bits": {"quantizer": "dorefa"},
    "dkd_beta": {"soft_loss": "dkd"},
    "teacher_cache": {"teacher_views": 16},
}
BY_LETTER = {"t": TEACHER, "s": STUDENT, "q": QUANTIZED, "e": EXPORT}


def test_the_table_covers_every_setting():
    assert list(SETTINGS) == list(Recipe.settings())


@pytest.mark.parametrize(
    ("name", "value"), [(name, bad) for name, row in SETTINGS.items() for bad in row[2]]
)
def test_a_value_that_breaks_a_rule_is_refused_by_the_name_of_its_setting(name, value):
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: "):
        Recipe(**{name: value})


def test_a_refusal_says_the_rule_and_what_was_received():
    with pytest.raises(ValueError) as error:
        Recipe(temperature=-1)
    assert str(error.value) == "`temperature` must be above 0. Received: temperature=-1.0."
    with pytest.raises(ValueError) as error:
        Recipe(granularity="layer")
    assert (
        str(error.value)
        == "`granularity` must be one of tensor, channel. Received: granularity='layer'."
    )


@pytest.mark.parametrize("bits", ["²", "４", "4.0", " 4", "+4", "-4", "04", "32", "Float", ""])
def test_bits_of_a_layer_are_a_digit_or_float(bits):
    with pytest.raises(ValueError, match="`layer_bits` must hold rules REGEX=BITS"):
        Recipe(layer_bits=(f"a={bits}",))


def test_an_expression_of_layers_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"`layer_bits` must hold.*Received: '\(=4'"):
        Recipe(layer_bits=("(=4",))


def test_rules_of_layers_become_a_policy_in_their_order():
    recipe = Recipe(layer_bits=("stage3_.*=4", "logits=8", "a=b=float"))
    assert list(recipe.bits_by_layer().items()) == [("stage3_.*", 4), ("logits", 8), ("a=b", None)]


def test_rules_of_layers_may_give_bits_to_activations():
    recipe = Recipe(activation_bits=4, layer_bits=("a=4/8", "b=float/8", "c=2/float", "d=3"))
    expected = {"a": (4, 8), "b": (None, 8), "c": (2, None), "d": 3}
    assert recipe.bits_by_layer() == expected
    with pytest.raises(ValueError, match=r"activation bits only where.*Received: 'a=4/8'"):
        Recipe(layer_bits=("a=4/8",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantizer": "twn", "bits": 4}, "`bits` must be 2 for the ternary quantizers"),
        ({"quantizer": "ttq", "bits": 8}, "`bits` must be 2 for the ternary quantizers"),
        ({"quantizer": "dorefa", "granularity": "channel"}, "`granularity` can be channel for"),
        ({"quantizer": "lsq", "step_update": "every_step"}, "`step_update` belongs to"),
        ({"gradient_bits": 6}, "`gradient_bits` belongs to"),
        ({"quantizer": "ttq", "gradual_bits": ("4",)}, "`gradual_bits` must fall"),
        ({"bits": 4, "gradual_bits": ("8", "3")}, "`gradual_bits` must fall"),
        ({"bits": 32, "gradual_share": ("0.5",)}, "`gradual_share` must rise"),
        ({"bits": 32, "activation_bits": 8}, "`activation_bits` must be 32 in the float control"),
        (
            {"gradual_bits": ("8", "4"), "quantized_epochs": 2},
            "`quantized_epochs` must be more than",
        ),
        (
            {"gradual_share": ("0.5",), "quantized_epochs": 1},
            "`quantized_epochs` must be more than",
        ),
    ],
)
def test_settings_that_contradict_the_quantizer_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        Recipe(**settings)


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ({}, "ternary student, gradual coefficient"),
        ({"quantizer": "twn"}, "ternary student, gradual coefficient"),
        ({"quantizer": "lsq"}, "2-bit student, gradual coefficient"),
        (
            {"bits": 4, "activation_bits": 8, "teacher": "none"},
            "4-bit (8-bit activations) student, no teacher",
        ),
    ],
)
def test_the_title_tells_the_widths(settings, title):
    assert Recipe(**settings).title == title


@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.0, 0.5), (0.0, 0.0)])
def test_an_exponential_schedule_cannot_touch_zero(start, end):
    with pytest.raises(ValueError, match="must start and end above zero"):
        Recipe(schedule="exponential", coefficient=start, coefficient_end=end)
    assert Recipe(schedule="exponential", coefficient=1.0, coefficient_end=0.01)


@pytest.mark.parametrize(
    ("settings", "highest"),
    [
        ({"learning_rate_factor": 2.0, "coefficient": 0.8}, "3.2"),
        ({"learning_rate_factor": 2.0, "coefficient": 0.3}, "1.2"),
        ({"learning_rate_factor": 1e200, "coefficient": 1e-9}, "inf"),
    ],
)
def test_a_step_schedule_cannot_leave_its_range(settings, highest):
    with pytest.raises(
        ValueError, match=rf"`coefficient` must stay in \[0, 1\].*up to {highest}\."
    ):
        Recipe(schedule="step", **settings)
    # Where the coefficient follows no milestone, or has no say, the factor is the learning rate's alone.
    assert Recipe(schedule="gradual", **settings)
    assert Recipe(schedule="step", teacher="none", **settings)


def test_a_step_schedule_may_rise_to_one():
    assert Recipe(schedule="step", learning_rate_factor=2.0, coefficient=0.25)


@pytest.mark.parametrize(
    "teacher", ["wrn20x2,wrn20x2", "cnn4,cnn8,cnn4", "wrn20x2,wrn20x2.0", "resnet20,wrn20x1"]
)
def test_one_teacher_twice_is_refused(teacher):
    with pytest.raises(
        ValueError, match=f"must name different models.*Received: teacher='{teacher}'"
    ):
        Recipe(teacher=teacher)


def test_one_saved_teacher_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.keras"
    file.touch()
    with pytest.raises(ValueError, match="must name different models"):
        Recipe(teacher=f"{file},model.keras")


def test_what_has_no_say_makes_no_other_training():
    def quantized(**settings):
        return Recipe(**settings).stage_settings(QUANTIZED)

    idle = {
        "temperature": 5.0,
        "coefficient": 0.3,
        "coefficient_end": 0.2,
        "schedule": "cosine",
        "schedule_on": "step",
        "soft_loss": "kl",
        "scale_by_temperature_squared": False,
    }
    # A recipe without a teacher is known under the fingerprint that its defaults have had.
    assert quantized(teacher="none", **idle) == quantized(teacher="none") == quantized()
    assert quantized(coefficient=0.0) == quantized()
    # The control weighs its loss: only what asks the teacher has no say.
    control = {"soft_loss": "none"}
    soft = {"temperature": 5.0, "scale_by_temperature_squared": False}
    assert quantized(**control, **soft) == quantized(**control)
    for name in ("coefficient", "coefficient_end", "schedule", "schedule_on"):
        assert quantized(**control, **{name: idle[name]}) != quantized(**control), name
    for name, value in idle.items():
        assert quantized(**{name: value}) != quantized(), name


def test_a_saved_model_is_a_student_or_teacher(tmp_path):
    file = tmp_path / "model.keras"
    file.touch()
    recipe = Recipe(student=str(file), teacher=f"{tmp_path},wrn20x1.7,{file}")
    assert recipe.teachers() == (str(tmp_path), "wrn20x1.7", str(file))
    with pytest.raises(ValueError, match=rf"`teacher`.*teacher='{file}2', which does not exist"):
        Recipe(teacher=f"cnn4,{file}2")


def test_whole_numbers_of_a_flag_or_a_json_file_become_floats():
    recipe = Recipe(temperature=3, milestones=[0.25, 0.5], formats=["litert-int8"])
    assert (recipe.temperature, type(recipe.temperature)) == (3.0, float)
    assert recipe.milestones == (0.25, 0.5)
    assert recipe.formats == ("litert-int8",)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_setting_changes_exactly_the_stages_that_depend_on_it(name):
    value, letters, _ = SETTINGS[name]
    plain = Recipe(**BASES.get(name, {}))
    changed = dataclasses.replace(plain, **{name: value})
    stages = {s for s in STAGES if plain.stage_settings(s) != changed.stage_settings(s)}
    assert stages == {BY_LETTER[letter] for letter in letters} | (
        # The float stages take the seed of the run unless they have one of their own.
        {TEACHER, STUDENT} if name == "seed" else set()
    )
    assert set(Recipe.settings()[name].metadata["stages"]) == {BY_LETTER[x] for x in letters}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_differences_are_the_settings_that_change_a_result(name):
    value, letters, _ = SETTINGS[name]
    plain = Recipe(**BASES.get(name, {}))
    changed = dataclasses.replace(plain, **{name: value})
    expected = {name: (getattr(plain, name), value)} if letters else {}
    assert plain.differences(changed) == expected
    assert changed.differences(changed) == {}


def test_asking_for_a_cache_asks_for_sixteen_views():
    assert Recipe(teacher_cache="cache").teacher_views == 16
    assert Recipe(teacher_cache="cache", teacher_views=4).teacher_views == 4


def test_runs_of_other_seeds_share_float_stages_whose_seed_is_fixed():
    first, second = (Recipe(seed=seed, pretrain_seed=5) for seed in (1, 2))
    for stage in (TEACHER, STUDENT):
        assert first.seed_of(stage) == 5
        assert first.stage_settings(stage) == second.stage_settings(stage)
    assert (first.seed_of(QUANTIZED), second.seed_of(QUANTIZED)) == (1, 2)
    assert first.stage_settings(QUANTIZED) != second.stage_settings(QUANTIZED)


def test_a_float_stage_depends_on_its_seed_however_it_came_by_it():
    inherited, own = Recipe(seed=3), Recipe(seed=4, pretrain_seed=3)
    assert inherited.seed_of(TEACHER) == own.seed_of(TEACHER) == 3
    assert inherited.stage_settings(TEACHER) == own.stage_settings(TEACHER)


@pytest.mark.parametrize(
    ("changes", "has_teacher", "distils", "title"),
    [
        ({}, True, True, "ternary student, gradual coefficient"),
        ({"bits": 4, "schedule": "constant"}, True, True, "4-bit student, constant coefficient"),
        ({"bits": 32, "soft_loss": "kl"}, True, True, "float student, gradual coefficient"),
        ({"teacher": "none"}, False, False, "ternary student, no teacher"),
        ({"teacher": "none", "bits": 32}, False, False, "float student, no teacher"),
        ({"soft_loss": "none"}, False, True, "ternary student, control"),
        ({"soft_loss": "none", "teacher": "none"}, False, True, "ternary student, control"),
        # A coefficient that is never above zero silences the teacher; one that rises does not.
        ({"coefficient": 0.0}, False, False, "ternary student, no teacher"),
        (
            {"coefficient": 0.0, "schedule": "step", "coefficient_end": 0.5},
            False,
            False,
            "ternary student, no teacher",
        ),
        (
            {"coefficient": 0.0, "schedule": "constant", "coefficient_end": 0.5},
            False,
            False,
            "ternary student, no teacher",
        ),
        (
            {"coefficient": 0.0, "coefficient_end": 0.5},
            True,
            True,
            "ternary student, gradual coefficient",
        ),
        (
            {"coefficient": 0.0, "coefficient_end": 0.5, "schedule": "cosine"},
            True,
            True,
            "ternary student, cosine coefficient",
        ),
    ],
)
def test_what_a_recipe_trains_last(changes, has_teacher, distils, title):
    recipe = Recipe(**changes)
    assert (recipe.has_teacher, recipe.distils, recipe.title) == (has_teacher, distils, title)
    assert recipe.teachers() == (("wrn20x2",) if has_teacher else ())


def test_a_recipe_survives_json():
    values = {name: value for name, (value, _, _) in SETTINGS.items()}
    recipe = Recipe(**{**values, "quantizer": "uniform", "bits": 3, "gradient_bits": 32})
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(Recipe().to_json()) == Recipe()
    assert Recipe.from_json("{}") == Recipe()
    assert json.loads(recipe.to_json())["layer_bits"] == ["a.*=4", "b=c=float"]


@pytest.mark.parametrize("text", ["[1]", '{"temprature": 2}', '"digits"', "{", "1"])
def test_json_that_is_no_recipe_is_refused(text):
    with pytest.raises(ValueError):
        Recipe.from_json(text)


def test_an_unknown_setting_is_named():
    with pytest.raises(ValueError, match=r"known settings\. Received: \['temprature'\]"):
        Recipe.from_json('{"temprature": 2, "bits": 4}')
    with pytest.raises(TypeError, match="temprature"):
        Recipe(temprature=2)


def test_a_recipe_is_fixed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().temperature = 3.0


def positive(largest):
    return st.floats(1e-12, largest, allow_nan=False)


SHARE = st.floats(0, 1)
BELOW_ONE = st.floats(0, 1, exclude_max=True)
COUNT = st.integers(0, 10**9)
SEED = st.integers(0, 2**31 - 1)
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
    "dataset": st.text(),
    "data_dir": st.text(),
    "validation_split": st.floats(0, 0.5),
    "train_examples": COUNT,
    "image_size": COUNT | st.just("24x32"),
    "crop_padding": COUNT,
    "student": MODEL,
    "teacher": st.lists(MODEL, min_size=1, max_size=3, unique=True).map(",".join) | st.just("none"),
    "teacher_epochs": COUNT,
    "student_epochs": COUNT,
    "learning_rate": positive(1e12),
    "pretrain_seed": SEED | st.just(-1),
    "bits": st.integers(2, 8) | st.just(32),
    "activation_bits": st.integers(2, 8) | st.just(32),
    "gradient_bits": st.integers(2, 8) | st.just(32),
    "layer_bits": st.lists(RULE.filter(lambda rule: "**" not in rule)).map(tuple),
    "gradual_bits": st.just(()),
    "gradual_share": st.lists(st.floats(0.01, 0.99), unique=True).map(
        lambda shares: tuple(map(str, sorted(shares)))
    ),
    "ema": BELOW_ONE,
    "quantized_epochs": COUNT,
    "quantized_learning_rate": positive(1e12),
    "soft_weight": st.floats(0, 1e12),
    "dkd_beta": st.floats(0, 1e12),
    "temperature": positive(1e12),
    "coefficient": st.floats(1e-9, 1),
    "coefficient_end": st.floats(1e-9, 1),
    "teacher_views": COUNT,
    "teacher_cache": st.text(),
    "teacher_cache_limit_gb": positive(1e12),
    "batch_size": st.integers(1, 10**9),
    "momentum": BELOW_ONE,
    "weight_decay": st.floats(0, 1e12),
    "milestones": st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), unique=True).map(
        lambda shares: tuple(sorted(shares))
    ),
    "learning_rate_factor": positive(1e12),
    "warmup_epochs": st.floats(0, 1e12),
    "label_smoothing": BELOW_ONE,
    "seed": SEED,
    "formats": st.lists(
        st.sampled_from(["saved_model", "litert-float32", "litert-int8"]), unique=True
    ).map(tuple),
    "steps_per_execution": st.integers(1, 10**9),
    "profile": st.tuples(st.integers(1, 99), st.integers(0, 99)).map(lambda p: f"{p[0]},{sum(p)}"),
    "checkpoint_every": st.from_regex(r"([1-9][0-9]{0,8}m?)?", fullmatch=True),
    "checkpoints_kept": st.integers(1, 10**9),
    **{
        name: st.sampled_from(setting.metadata["choices"])
        for name, setting in Recipe.settings().items()
        if setting.metadata["choices"]
    },
    **{
        name: st.booleans()
        for name, setting in Recipe.settings().items()
        if isinstance(setting.default, bool)
    },
}


def consistent(values):
    """Makes the settings of the quantizer fit each other, as they are checked together."""
    uniform = values.get("quantizer", "uniform") == "uniform"
    changes = {} if uniform else {"step_update": "once", "granularity": "tensor"}
    if values.get("quantizer") != "dorefa":
        changes["gradient_bits"] = 32
    if values.get("quantizer") in ("twn", "ttq"):
        changes["bits"] = 2
    if values.get("schedule") == "step" and values.get("learning_rate_factor", 0.1) > 1:
        changes["learning_rate_factor"] = 0.5
    if values.get("bits") == 32:
        changes["activation_bits"] = 32
        changes["gradual_share"] = ()
    shares = len({**values, **changes}.get("gradual_share", ()))
    if shares:
        changes["quantized_epochs"] = max(shares + 1, values.get("quantized_epochs", 100))
    return {**values, **changes}


@hypothesis.given(st.fixed_dictionaries({}, optional=VALUES).map(consistent))
def test_every_valid_recipe_survives_json(values):
    assert set(VALUES) == set(Recipe.settings())
    # An exponential schedule needs an end above zero; the default is zero.
    recipe = Recipe(**{"coefficient_end": 0.5, **values})
    assert Recipe.from_json(recipe.to_json()) == recipe
    if values.get("teacher_cache") and not values.get("teacher_views"):
        values["teacher_views"] = 16
    for name, value in values.items():
        assert getattr(recipe, name) == value
    assert recipe.differences(Recipe.from_json(recipe.to_json())) == {}


def test_a_recipe_needs_no_tensorflow():
    code = (
        "import sys; from tfqkd.training.recipe import Recipe; Recipe(layer_bits=('a=4',)); "
        "print([m for m in ('tensorflow', 'keras', 'tf_keras', 'numpy') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"


def test_a_size_of_equal_sides_is_the_square_that_it_says():
    squares = [Recipe(image_size=size) for size in (16, "16", "16x16")]
    assert [recipe.image_size for recipe in squares] == [16, 16, 16]
    assert Recipe(image_size="0").image_size == 0
    assert Recipe.from_json(Recipe(image_size="24x32").to_json()).image_size == "24x32"
