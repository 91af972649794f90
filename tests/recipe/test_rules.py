import pytest

from tfqkd.models.pretrained import DIRECTORY
from tfqkd.recipe.layer_bits import bits_by_layer
from tfqkd.recipe.models import is_saved, saved_model
from tfqkd.recipe.recipe import Recipe


def layers(*rules, **named):
    return Recipe({"quantize.layer_bits": rules}, **named)


@pytest.mark.parametrize("bits", ["²", "４", "4.0", " 4", "+4", "-4", "04", "32", "Float", ""])
def test_bits_of_a_layer_are_a_digit_or_float(bits):
    with pytest.raises(ValueError, match=r"`quantize.layer_bits` must hold rules REGEX=BITS"):
        layers(f"a={bits}")


def test_an_expression_of_layers_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"`quantize.layer_bits` must hold.*Received: '\(=4'"):
        layers("(=4")


def test_rules_of_layers_become_a_policy_in_their_order():
    recipe = layers("stage3_.*=4", "logits=8", "a=b=float")
    expected = [("stage3_.*", 4), ("logits", 8), ("a=b", None)]
    assert list(bits_by_layer(recipe.quantize).items()) == expected


def test_rules_of_layers_may_give_bits_to_activations():
    rules = ("a=4/8", "b=float/8", "c=2/float", "d=3")
    recipe = Recipe({"quantize.activation_bits": 4, "quantize.layer_bits": rules})
    expected = {"a": (4, 8), "b": (None, 8), "c": (2, None), "d": 3}
    assert bits_by_layer(recipe.quantize) == expected
    with pytest.raises(ValueError, match=r"activation bits only where.*Received: 'a=4/8'"):
        layers("a=4/8")


GRADUAL = {"quantized.methods": ["gradual"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantizer": "twn", "bits": 4}, "`bits` must be 2 for the ternary quantizers"),
        ({"quantizer": "ttq", "bits": 8}, "`bits` must be 2 for the ternary quantizers"),
        (
            {"quantizer": "dorefa", "quantize.granularity": "channel"},
            "`quantize.granularity` can be channel for",
        ),
        (
            {"quantizer": "lsq", "quantize.step_update": "every_step"},
            "`quantize.step_update` belongs to",
        ),
        ({"quantize.gradient_bits": 6}, "`quantize.gradient_bits` belongs to"),
        (
            {"bits": 32, "quantize.activation_bits": 8},
            "`quantize.activation_bits` must be 32 in the float control",
        ),
        (
            {"formats": ["keras"], "quantize.activation_bits": 4},
            "`formats` may hold keras only where activations are float",
        ),
        (GRADUAL, "`quantized.gradual` must name widths or shares"),
        (
            {**GRADUAL, "quantizer": "ttq", "quantized.gradual.bits": [4]},
            "`quantized.gradual.bits` must fall from 8 at most towards `bits`",
        ),
        (
            {**GRADUAL, "bits": 4, "quantized.gradual.bits": [8, 3]},
            "`quantized.gradual.bits` must fall from 8 at most towards `bits`",
        ),
        (
            {**GRADUAL, "bits": 32, "quantized.gradual.share": [0.5]},
            "`quantized.gradual.share` must be of weights that are quantized",
        ),
        (
            {**GRADUAL, "quantized.gradual.bits": [8, 4], "quantized.training.epochs": 2},
            "`quantized.training.epochs` must be more than",
        ),
        (
            {**GRADUAL, "quantized.gradual.share": [0.5], "quantized.training.epochs": 1},
            "`quantized.training.epochs` must be more than",
        ),
        (
            {"quantized.ema.momentum": 0.5},
            "`quantized.ema.momentum` belongs to a method that is not in use",
        ),
        ({"quantized.methods": ["swa"]}, "`quantized.methods` must be names of methods, each once"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: ") as error:
        Recipe(settings)
    assert "\n" not in str(error.value)


def test_a_method_that_is_left_out_takes_its_settings_along():
    used = Recipe({"quantized.methods": ["ema"], "quantized.ema.momentum": 0.5})
    assert used.changed({"quantized.methods": []}) == Recipe()
    with pytest.raises(ValueError, match=r"`quantized.ema.momentum` belongs to a method"):
        Recipe().changed({"quantized.ema.momentum": 0.5})


@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.0, 0.5), (0.0, 0.0)])
def test_an_exponential_schedule_cannot_touch_zero(start, end):
    settings = {"schedule": "exponential", "coefficient": start, "distil.coefficient_end": end}
    with pytest.raises(ValueError, match="must start and end above zero"):
        Recipe(settings)
    assert Recipe({**settings, "coefficient": 1.0, "distil.coefficient_end": 0.01})


@pytest.mark.parametrize(
    ("factor", "start", "highest"), [(2.0, 0.8, "3.2"), (2.0, 0.3, "1.2"), (1e200, 1e-9, "inf")]
)
def test_a_step_schedule_cannot_leave_its_range(factor, start, highest):
    settings = {"training.factor": factor, "coefficient": start}
    message = rf"`coefficient` must stay in \[0, 1\].*up to {highest}\."
    with pytest.raises(ValueError, match=message):
        Recipe({"schedule": "step", **settings})
    # Where the coefficient follows no milestone, or has no say, the factor is the learning rate's alone.
    assert Recipe({"schedule": "gradual", **settings})
    assert Recipe({"schedule": "step", "teacher": "none", **settings})
    # It follows the milestones of the stages that it is used in.
    quantized = {**settings, "schedule": "step", "quantized.training.factor": 0.1}
    assert Recipe(quantized)
    with pytest.raises(ValueError, match=message):
        Recipe({**quantized, "distil.float_student": True})


def test_a_step_schedule_may_rise_to_one():
    assert Recipe({"schedule": "step", "training.factor": 2.0, "coefficient": 0.25})


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


def test_a_saved_model_is_a_student_or_teacher(tmp_path):
    file = tmp_path / "model.keras"
    file.touch()
    recipe = Recipe(student=str(file), teacher=f"{tmp_path},wrn20x1.7,{file}")
    assert recipe.teachers() == (str(tmp_path), "wrn20x1.7", str(file))
    with pytest.raises(ValueError, match=rf"`teacher`.*teacher='{file}2', which does not exist"):
        Recipe(teacher=f"cnn4,{file}2")
    with pytest.raises(ValueError, match=r"`distil.float_student` teaches a float student that"):
        Recipe({"distil.float_student": True}, student=str(file))


def test_a_network_that_comes_along_is_a_student_or_teacher_by_its_name():
    recipe = Recipe(
        student="resnet20_ternary_cifar10", teacher="resnet20_cifar10,wrn20x1.5_cifar10"
    )
    for name in (recipe.student.network, *recipe.teachers()):
        assert is_saved(name)
        assert saved_model(name) == DIRECTORY / f"{name}.keras"
        assert saved_model(name).is_file()
    with pytest.raises(ValueError, match="must name different models"):
        Recipe(teacher=f"resnet20_cifar10,{saved_model('resnet20_cifar10')}")
    # Of integers, to run and not to train on.
    with pytest.raises(ValueError, match=r"'resnet20_w2a8.* come along: .*resnet20_cifar10, "):
        Recipe(student="resnet20_w2a8_cifar10")
