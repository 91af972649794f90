import pathlib

import pytest

from tfqkd.cli.command import Command, UsageError
from tfqkd.cli.recipes import define_recipe_flags, recipe_from_flags
from tfqkd.methods.attention import Attention
from tfqkd.methods.ema import Ema
from tfqkd.recipe.recipe import TRAINED, Recipe
from tfqkd.recipe.setting_names import value_of
from tfqkd.training.plans import methods_of

from .flags import of_recipe

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
# Those of studies are tried in test_study.py.
FILES = sorted(
    file for file in CONFIGS.glob("*.flags") if not file.stem.startswith(("study_", "methods_"))
)


def read(*arguments):
    """Returns the recipe of these flags; flags of the command itself are passed over."""
    command = Command("train", "", ())
    define_recipe_flags(command)
    from absl import flags

    flags.DEFINE_string("run_dir", "", "", flag_values=command.flags)
    flags.DEFINE_bool("compare", False, "", flag_values=command.flags)
    flags.DEFINE_bool("controls", False, "", flag_values=command.flags)
    flags.DEFINE_integer("repeats", 1, "", flag_values=command.flags)
    flags.DEFINE_integer("generations", 1, "", flag_values=command.flags)
    flags.DEFINE_list("assistants", [], "", flag_values=command.flags)
    recipes = []
    assert (
        command.main(["train", *arguments], lambda: recipes.append(recipe_from_flags(command))) == 0
    )
    return recipes[0]


def test_without_flags_the_recipe_is_the_default():
    assert read() == Recipe()


@pytest.mark.parametrize(
    ("flag", "name", "value"),
    [
        ("--dataset=digits", "dataset", "digits"),
        ("--data.flip=false", "data.flip", False),
        ("--download", "download", True),
        ("--bits=4", "bits", 4),
        ("--temperature=3", "temperature", 3.0),
        ("--training.milestones=0.25,0.5,0.75", "training.milestones", (0.25, 0.5, 0.75)),
        ("--training.milestones=", "training.milestones", ()),
        ("--formats=", "formats", ()),
        ("--formats=litert-int8, saved_model", "formats", ("litert-int8", "saved_model")),
        ("--quantize.layer_bits=a.*=4,b=float", "quantize.layer_bits", ("a.*=4", "b=float")),
        ("--run.pretrain_seed=-1", "run.pretrain_seed", -1),
        ("--schedule=cosine", "schedule", "cosine"),
        ("--teacher=cnn4,cnn8", "teacher", "cnn4,cnn8"),
    ],
)
def test_a_flag_sets_its_setting_and_no_other(flag, name, value):
    recipe = read(flag)
    assert recipe.value(name) == value
    settings = Recipe.settings().values()
    changed = {s.label for s in settings if value_of(recipe, s.name) != value_of(Recipe(), s.name)}
    assert changed <= {name}
    # The whole name of a setting says the same.
    (whole,) = (s.name for s in settings if s.label == name)
    assert read(flag.replace(name, whole, 1)) == recipe


def test_every_setting_can_be_said_in_flags():
    recipe = Recipe(
        {
            "data.validation_split": 0.1,
            "data.flip": False,
            "quantize.layer_bits": ("conv1=8", "logits=float"),
            "training.milestones": (0.1, 0.9),
            "run.jit_compile": True,
            "training.weight_decay": 1e-5,
        },
        dataset="digits",
        student="cnn4",
        teacher="cnn8,cnn16",
        bits=3,
        formats=("litert-int8",),
    )
    assert read(*of_recipe(recipe)) == recipe


def test_methods_and_their_settings_are_flags():
    methods = "--quantized.methods=ema,attention"
    recipe = read("--quantized.ema.momentum=0.5", "--noquantized.attention.falls", methods)
    assert recipe.quantized.own == (Ema(momentum=0.5), Attention(falls=False))
    assert read("--quantized.methods=ema").quantized.own == (Ema(),)
    assert methods_of(recipe)[:2] == recipe.quantized.own


def test_a_value_that_breaks_a_rule_is_a_usage_error():
    command = Command("train", "", ())
    define_recipe_flags(command)
    command.flags(["train", "--coefficient=2"])
    with pytest.raises(UsageError, match=r"`coefficient` must be in \[0, 1\]"):
        recipe_from_flags(command)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_flag_file_is_a_recipe_from_any_directory(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = read(f"--flagfile={file}")
    assert recipe.has_teacher
    assert read(f"--flagfile={file}", "--temperature=9").distil.temperature == 9


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_cifar_recipes_are_the_papers_at_full_length(name):
    """arXiv 1909.01688: a ternary ResNet20, its first and last layer float, a WRN20 teacher, GSLR."""
    recipe = read(f"--flagfile={CONFIGS / name}.flags")
    expected = {
        "dataset": name,
        "student": "resnet20",
        "bits": 2,
        "quantize.layer_bits": (),
        "quantize.granularity": "tensor",
        "quantize.step_update": "once",
        "schedule": "gradual",
        "coefficient": 0.9,
        "distil.coefficient_end": 0.0,
        "temperature": 4.0,
        "training.weight_decay": 0.005,
        "distil.float_student": True,
        "training.batch_norm": "augmented",
        "run.mixed_precision": "auto",
        "teacher.views": 0,
        "distil.schedule_on": "epoch",
        "distil.soft_loss": "cross_entropy",
        "data.crop_padding": 4,
        "data.flip": True,
        "training.momentum": 0.9,
        "data.train_examples": 0,
        "data.image_size": 0,
        "data.validation_split": 0.0,
    }
    assert {setting: recipe.value(setting) for setting in expected} == expected
    assert recipe.teacher.network.startswith("wrn20x")
    for stage in TRAINED:
        training = recipe.training_of(stage)
        assert (training.learning_rate, training.schedule) == (0.1, "cosine")
        assert training.epochs >= 100


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_first_look_differs_from_its_recipe_in_length_alone(name):
    whole, short = (read(f"--flagfile={CONFIGS / name}{end}.flags") for end in ("", "_short"))
    assert set(whole.differences(short)) == {"training.epochs"}
    assert {short.training_of(stage).epochs for stage in TRAINED} == {2}


def test_the_quickstart_needs_no_download():
    recipe = read(f"--flagfile={CONFIGS / 'quickstart.flags'}")
    assert recipe.data.dataset == "digits"
    assert recipe.student.network.startswith("cnn")
    assert recipe.teacher.network.startswith("cnn")
