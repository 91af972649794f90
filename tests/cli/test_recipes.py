import pathlib

import pytest

from tfqkd.cli.command import Command, UsageError
from tfqkd.cli.recipes import define_recipe_flags, recipe_from_flags
from tfqkd.training.recipe import Recipe

from .flags import of_recipe

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
# Those of studies are tried in test_study.py.
FILES = sorted(file for file in CONFIGS.glob("*.flags") if not file.stem.startswith("study_"))


def read(*arguments):
    """Returns the recipe of these flags; flags of the command itself are passed over."""
    command = Command("train", "", ())
    define_recipe_flags(command)
    from absl import flags

    flags.DEFINE_string("run_dir", "", "", flag_values=command.flags)
    flags.DEFINE_bool("compare", False, "", flag_values=command.flags)
    flags.DEFINE_bool("controls", False, "", flag_values=command.flags)
    flags.DEFINE_integer("repeats", 1, "", flag_values=command.flags)
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
        ("--noflip", "flip", False),
        ("--download", "download", True),
        ("--bits=4", "bits", 4),
        ("--temperature=3", "temperature", 3.0),
        ("--milestones=0.25,0.5,0.75", "milestones", (0.25, 0.5, 0.75)),
        ("--milestones=", "milestones", ()),
        ("--formats=", "formats", ()),
        ("--formats=litert-int8, saved_model", "formats", ("litert-int8", "saved_model")),
        ("--layer_bits=a.*=4,b=float", "layer_bits", ("a.*=4", "b=float")),
        ("--pretrain_seed=-1", "pretrain_seed", -1),
        ("--schedule=cosine", "schedule", "cosine"),
        ("--teacher=cnn4,cnn8", "teacher", "cnn4,cnn8"),
    ],
)
def test_a_flag_sets_its_setting_and_no_other(flag, name, value):
    recipe = read(flag)
    assert getattr(recipe, name) == value
    changed = {key for key in Recipe.settings() if getattr(recipe, key) != getattr(Recipe(), key)}
    assert changed <= {name}


def test_every_setting_can_be_said_in_flags():
    recipe = Recipe(
        dataset="digits",
        validation_split=0.1,
        flip=False,
        student="cnn4",
        teacher="cnn8,cnn16",
        bits=3,
        layer_bits=("conv1=8", "logits=float"),
        milestones=(0.1, 0.9),
        formats=("litert-int8",),
        jit_compile=True,
        weight_decay=1e-5,
    )
    assert read(*of_recipe(recipe)) == recipe


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
    assert read(f"--flagfile={file}", "--temperature=9").temperature == 9


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_cifar_recipes_are_the_papers_at_full_length(name):
    """arXiv 1909.01688: a ternary ResNet20, its first and last layer float, a WRN20 teacher, GSLR."""
    recipe = read(f"--flagfile={CONFIGS / name}.flags")
    assert recipe.dataset == name
    assert (recipe.student, recipe.bits, recipe.layer_bits) == ("resnet20", 2, ())
    assert recipe.teacher.startswith("wrn20x")
    assert (recipe.granularity, recipe.step_update) == ("tensor", "once")
    assert (recipe.schedule, recipe.coefficient, recipe.coefficient_end) == ("gradual", 0.9, 0.0)
    assert (recipe.temperature, recipe.weight_decay, recipe.distil_float) == (4.0, 0.005, True)
    assert (recipe.batch_norm, recipe.mixed_precision, recipe.teacher_views) == (
        "augmented",
        "auto",
        0,
    )
    assert (recipe.schedule_on, recipe.soft_loss) == ("epoch", "cross_entropy")
    assert (recipe.crop_padding, recipe.flip, recipe.momentum) == (4, True, 0.9)
    assert recipe.learning_rate_schedule == "cosine"
    assert recipe.learning_rate == recipe.quantized_learning_rate == 0.1
    assert min(recipe.teacher_epochs, recipe.student_epochs, recipe.quantized_epochs) >= 100
    assert recipe.train_examples == recipe.image_size == recipe.validation_split == 0


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_first_look_differs_from_its_recipe_in_length_alone(name):
    whole, short = (read(f"--flagfile={CONFIGS / name}{end}.flags") for end in ("", "_short"))
    assert set(whole.differences(short)) == {
        "teacher_epochs",
        "student_epochs",
        "quantized_epochs",
    }
    assert short.teacher_epochs == short.student_epochs == short.quantized_epochs == 2


def test_the_quickstart_needs_no_download():
    recipe = read(f"--flagfile={CONFIGS / 'quickstart.flags'}")
    assert recipe.dataset == "digits"
    assert recipe.student.startswith("cnn")
    assert recipe.teacher.startswith("cnn")
