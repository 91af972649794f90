"""What the presets make of a recipe: which stages, what each learns from, and which are one."""

import dataclasses
import json

import pytest

from tfqkd.core.schedules import Constant, Linear
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.presets import PAPER, BornAgain, Chain, Comparison
from tfqkd.training.stage import ASSISTANT, QUANTIZED, STUDENT, TEACHER, ModelFile, Stage, walk

RECIPE = Recipe({"distil.coefficient_end": 0.3}, student="cnn2", teacher="cnn4", coefficient=0.9)
SEEDED = RECIPE.changed(seed=5)
NAMES = ["no teacher", "teacher, fixed coefficient", "teacher, annealed coefficient"]


def labels(stages):
    return [stage.label for stage in stages]


def differences(one, other):
    """The names of the fields in which two stages differ."""
    names = [field.name for field in dataclasses.fields(one)]
    return {name for name in names if getattr(one, name) != getattr(other, name)}


def test_the_papers_job_is_a_teacher_a_float_student_and_a_quantized_one():
    teacher, student, quantized = PAPER(RECIPE)
    assert [each.role for each in (teacher, student, quantized)] == [TEACHER, STUDENT, QUANTIZED]
    assert (teacher.network, student.network, quantized.network) == ("cnn4", "cnn2", "cnn2")
    assert (quantized.start, quantized.teachers) == (student, (teacher,))
    assert teacher.inputs == student.inputs == ()
    assert teacher.distillation is student.distillation is teacher.quantization is None
    assert quantized.distillation.coefficient == Linear(0.9, 0.3)
    assert quantized.quantization.scheme.bits.weights == 2
    assert quantized.title == "ternary student, gradual coefficient (cnn2), seed 0"


def test_role_and_stage_are_part_of_a_training_s_seed():
    recipes = [RECIPE.changed(seed=seed) for seed in (0, 1)]
    seeds = [stage.training.seed for recipe in recipes for stage in Chain(("cnn3",))(recipe)]
    assert len(set(seeds)) == len(seeds) == 8
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_float_stages_follow_the_seed_that_they_share():
    runs = [PAPER(RECIPE.changed({"run.pretrain_seed": 5}, seed=seed)) for seed in (1, 2)]
    (teacher, student, first), (same_teacher, same_student, second) = runs
    assert (teacher, student) == (same_teacher, same_student)
    assert first.training.seed != second.training.seed
    assert (teacher.seed, first.seed, second.seed) == (5, 1, 2)


def test_saved_models_are_no_stages(tmp_path):
    paths = [tmp_path / f"{name}.keras" for name in ("a", "b", "student")]
    for path in paths:
        path.touch()
    *names, student = map(str, paths)
    recipe = RECIPE.changed(teacher=",".join(names), student=student)
    *teachers, first, quantized = PAPER(recipe)
    assert [(each.label, each.network) for each in teachers] == [
        ("float teacher 1", names[0]),
        ("float teacher 2", names[1]),
    ]
    assert first == ModelFile(STUDENT, "float student", student)
    assert (quantized.start, quantized.teachers) == (first, tuple(teachers))


def test_assistants_are_taught_one_by_the_other_and_the_last_one_teaches():
    teacher, first, second, student, quantized = Chain(("cnn3", "cnn2"))(RECIPE)
    assert (first.role, first.network, first.teachers) == (ASSISTANT, "cnn3", (teacher,))
    assert (second.network, second.teachers) == ("cnn2", (first,))
    assert first.distillation == quantized.distillation
    assert (first.training.epochs, first.start) == (teacher.training.epochs, None)
    assert (quantized.start, quantized.teachers) == (student, (second,))
    assert list(walk([quantized])) == [teacher, first, second, student, quantized]


def test_born_again_students_are_taught_by_the_one_before():
    teacher, student, first, second, third = BornAgain(3)(RECIPE)
    (*_, alone) = PAPER(RECIPE)
    assert differences(first, alone) == {"label"}
    assert [each.teachers for each in (first, second, third)] == [(teacher,), (first,), (second,)]
    assert all(each.start == student for each in (first, second, third))
    assert differences(second, third) == {"label", "teachers", "training"}
    assert len({each.training.seed for each in (first, second, third)}) == 3
    assert list(walk([third])) == [teacher, student, first, second, third]


def test_born_again_students_need_a_first_teacher_and_a_second_generation():
    for generations, recipe in ((1, RECIPE), (2, RECIPE.changed(teacher="none"))):
        with pytest.raises(ValueError, match="must be 2 or more generations"):
            BornAgain(generations)(recipe)


def test_assistants_without_a_teacher_are_refused():
    with pytest.raises(ValueError, match=r"must have a teacher to learn from\. Received: cnn3"):
        Chain(("cnn3",))(RECIPE.changed(teacher="none"))


@pytest.mark.parametrize("bits", [2, 4])
def test_the_variants_differ_in_their_teacher_and_coefficient_alone(bits):
    recipe = RECIPE.changed(bits=bits, temperature=4.0, seed=7)
    kind = {2: "ternary", 4: "4-bit"}[bits]
    stages = Comparison()(recipe)
    assert labels(stages) == ["float teacher", "float student", *(f"{kind}, {n}" for n in NAMES)]
    teacher, student, alone, fixed, annealed = stages
    assert (teacher, student) == PAPER(recipe)[:2]
    assert differences(annealed, PAPER(recipe)[-1]) == {"label"}
    assert differences(annealed, fixed) == {"label", "distillation"}
    assert differences(annealed, alone) == {"label", "teachers", "distillation"}
    assert (alone.teachers, alone.distillation) == ((), None)
    changed = {"coefficient": Constant(pytest.approx(0.6)), "coefficient_on": None}
    assert fixed.distillation == dataclasses.replace(annealed.distillation, **changed)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "quantize.activation_bits": 4,
            "quantize.layer_bits": ("conv2=4/4",),
            "quantized.methods": ("gradual",),
            "quantized.gradual.share": (0.5,),
        },
        {
            "bits": 4,
            "quantizer": "dorefa",
            "quantize.gradient_bits": 6,
            "quantized.methods": ("gradual",),
            "quantized.gradual.bits": (8,),
        },
    ],
)
def test_the_controls_train_the_float_student_on_and_turn_the_teachers_term_off(settings):
    recipe = RECIPE.changed({"seed": 7, **settings})
    plain, found = Comparison()(recipe), Comparison(controls=True)(recipe)
    teacher, student, longer, alone, off, fixed, annealed = found
    assert (teacher, student, alone, fixed, annealed) == plain
    assert longer.label == "float, no teacher"
    assert differences(longer, alone) == {"label", "quantization"}
    assert longer.quantization is None
    # What is left is (1-λ)·hard, with the annealed λ of the recipe.
    assert off.label.endswith("teacher's term off")
    assert differences(off, alone) == {"label", "distillation"}
    assert off.distillation.soft() == {"soft_loss": "none"}
    assert off.distillation.coefficient == annealed.distillation.coefficient


def test_a_float_recipe_is_its_own_float_control():
    kinds = labels(Comparison(controls=True)(RECIPE.changed(bits=32)))
    assert kinds[2:4] == ["float, no teacher", "float, teacher's term off"]


@pytest.mark.parametrize(
    ("settings", "middle"),
    [
        ({}, 0.5),
        ({"schedule": "cosine", "coefficient": 0.8}, 0.4),
        ({"schedule": "exponential", "distil.coefficient_end": 0.01}, 0.505),
        # A step schedule ends where its milestones lead to; it has no `coefficient_end`.
        ({"schedule": "step", "distil.coefficient_end": 0.9}, 0.505),
        ({"schedule": "step", "training.milestones": (0.5,), "training.factor": 0.5}, 0.75),
    ],
)
def test_the_fixed_coefficient_is_the_mean_of_the_schedules_ends(settings, middle):
    *_, fixed, _ = Comparison()(Recipe(settings))
    assert fixed.distillation.coefficient.value == pytest.approx(middle, rel=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"teacher": "none"},
        {"coefficient": 0.0},
        {"distil.soft_loss": "none"},
        {"schedule": "constant"},
    ],
)
def test_without_an_annealed_teacher_there_is_nothing_to_compare(settings):
    with pytest.raises(ValueError, match=r"needs a recipe with a teacher and an annealed"):
        Comparison()(Recipe(settings))


def test_every_variant_is_there_for_every_seed_and_the_recipes_own_comes_last():
    stages = Comparison(repeats=3)(SEEDED)
    assert [stage.seed for stage in stages] == [seed for seed in (6, 7, 5) for _ in range(5)]
    assert stages[-5:] == Comparison()(SEEDED)


def test_a_network_that_all_seeds_share_counts_once():
    stages = Comparison(repeats=3)(RECIPE.changed({"run.pretrain_seed": 0}))
    roles = [stage.role for stage in stages]
    assert [roles.count(role) for role in (TEACHER, STUDENT, QUANTIZED)] == [1, 1, 9]


def test_a_float_student_is_taught_by_those_who_teach_the_variant():
    *_, student, alone, fixed, annealed = Comparison()(
        RECIPE.changed({"distil.float_student": True})
    )
    assert annealed.start == student
    assert student.teachers == annealed.teachers
    assert alone.start == PAPER(RECIPE)[1]
    assert fixed.start.distillation == fixed.distillation
    assert differences(fixed.start, student) == {"distillation"}


SILENT = [
    (
        {"teacher": "none"},
        {"temperature": 9.0, "distil.soft_weight": 2.0, "distil.float_student": True},
    ),
    ({"teacher": "none"}, {"coefficient": 0.2, "schedule": "cosine", "distil.soft_loss": "kl"}),
    (
        {"distil.soft_loss": "none"},
        {"temperature": 9.0, "distil.scale_by_temperature_squared": False},
    ),
    ({}, {"distil.dkd_beta": 2.0}),
    ({"schedule": "constant"}, {"distil.coefficient_end": 0.7, "distil.schedule_on": "step"}),
    ({"schedule": "step"}, {"distil.coefficient_end": 0.7}),
    ({"training.schedule": "cosine"}, {"training.milestones": (0.2,), "training.factor": 0.3}),
    ({"bits": 32}, {"quantizer": "lsq", "quantize.granularity": "channel"}),
    ({"bits": 32}, {"quantizer": "twn"}),
    ({"bits": 32}, {"quantize.layer_bits": ("conv2=4",)}),
    ({"quantizer": "twn"}, {"quantize.activation_quantizer": "pact"}),
]


@pytest.mark.parametrize(("settings", "changes"), SILENT)
def test_a_setting_without_a_say_makes_no_second_training(settings, changes):
    recipe = RECIPE.changed(settings)
    before, after = PAPER(recipe), PAPER(recipe.changed(changes))
    for one, other in zip(before, after, strict=True):
        assert one.settings() == other.settings()
        assert len(one.inputs) == len(other.inputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 9.0},
        {"distil.coefficient_end": 0.7},
        {"distil.schedule_on": "step"},
        {"distil.soft_loss": "dkd"},
        {"distil.soft_loss": "none"},
        {"training.milestones": (0.2,)},
        {"bits": 3},
        {"quantizer": "lsq"},
        {"quantize.granularity": "channel"},
        {"quantize.layer_bits": ("conv2=4",)},
        {"quantized.methods": ("gradual",), "quantized.gradual.share": (0.5,)},
        {"quantize.activation_bits": 4},
        {"quantized.methods": ("ema",), "quantized.ema.momentum": 0.9},
        {"training.batch_norm": "plain"},
        {"teacher.views": 2},
        {"seed": 3},
        {"run.mixed_precision": "mixed_float16"},
        {"run.synchronized_batch_norm": True},
        {"quantized.training.epochs": 7},
    ],
)
def test_a_setting_with_a_say_makes_another_training(changes):
    before, after = PAPER(RECIPE)[-1], PAPER(RECIPE.changed(changes))[-1]
    assert isinstance(after, Stage)
    assert before.settings() != after.settings()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("conv1=float",), ("conv2=float",)),
        (("conv1=float",), ("conv1=8",)),
        (("conv1=8", "conv.*=4"), ("conv.*=4", "conv1=8")),
    ],
)
def test_rules_of_layers_that_differ_in_widths_or_order_make_two_trainings(one, other):
    keys = [
        json.dumps(
            PAPER(RECIPE.changed({"quantize.layer_bits": rules}))[-1].settings(), sort_keys=True
        )
        for rules in (one, other)
    ]
    assert keys[0] != keys[1]


def test_depthwise_layers_have_a_rule_behind_those_of_the_recipe():
    rules = {"quantize.layer_bits": (".*_depthwise=4",)}

    def layers(**named):
        return PAPER(RECIPE.changed(rules, **named))[-1].settings()["quantization"]["layers"]

    depthwise = ["LayersOfClass(begins='DepthwiseConv')", 8]
    assert layers(student="mobilenetv2_0.5") == [[".*_depthwise", 4], depthwise]
    assert layers(student="applications:MobileNetV2")[1:] == [depthwise]
    # Networks without such layers, and quantizers without such widths.
    assert layers(student="resnet20") == [[".*_depthwise", 4]]
    assert layers(student="mobilenetv2_0.5", quantizer="ttq") == [[".*_depthwise", 4]]


@pytest.mark.parametrize(
    "changes",
    [
        {"run.jit_compile": True},
        {"run.checkpoint_every": "7"},
        {"run.profile": "1,2"},
        {"data_dir": "x"},
    ],
)
def test_how_a_run_is_computed_makes_no_other_training(changes):
    assert PAPER(RECIPE.changed(changes)) == PAPER(RECIPE)
