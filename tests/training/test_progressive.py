"""Progressive distillation: four stages, from general to special (after the abstract of arXiv 2106.02241)."""

import dataclasses

import numpy as np
import pytest

from tfqkd.data.datasets import unlabelled
from tfqkd.data.images import ImageData, Split
from tfqkd.methods.latent import Latent
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.plans import distillation_of, quantized_of, student_of, teachers_of
from tfqkd.training.presets import PAPER, Comparison
from tfqkd.training.stage import STUDENT, TEACHER, ModelFile

EPOCHS = {"progressive.epochs": (1, 2, 3), "progressive.data": "digits"}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "general.keras"
    path.touch()
    return Recipe(
        {**EPOCHS, "progressive.teacher": str(path)},
        dataset="digits",
        student="cnn2",
        teacher="cnn4",
    )


def test_one_of_teacher_data_and_loss_changes_from_stage_to_stage(recipe):
    teacher, general, enhanced, adaptive, last = PAPER(recipe)
    pretrained = ModelFile(TEACHER, "general teacher", recipe.progressive.teacher, layers_only=True)
    stages = (general, enhanced, adaptive)
    assert [stage.teachers for stage in stages] == [(pretrained,), (teacher,), (teacher,)]
    assert [stage.on_general for stage in stages] == [True, True, False]
    assert [stage.training.epochs for stage in stages] == [1, 2, 3]
    assert [stage.start for stage in (*stages, last)] == [None, *stages]
    for stage in stages:
        # The labels' loss has no weight, and there is no soft one.
        assert stage.distillation.coefficient(0.5) == 1.0
        assert stage.distillation.soft() == {"soft_loss": "none"}
        assert stage.methods[0] == Latent(weight=1.0)
        assert (stage.role, stage.quantization) == (STUDENT, None)
    assert last.teachers == (teacher,)
    assert last.distillation == distillation_of(recipe)
    assert last.methods[0] == Latent(weight=1.0, falls=True)
    assert len({stage.training.seed for stage in (teacher, *stages, last)}) == 5


def test_stages_may_be_left_out(recipe):
    changed = recipe.changed({"progressive.epochs": (0, 0, 2), "progressive.data": ""})
    _, adaptive, last = PAPER(changed.changed({"progressive.teacher": ""}))
    assert (adaptive.start, last.start) == (None, adaptive)
    # No stage and no latent loss is the plain run.
    none = recipe.changed({"progressive.epochs": (0, 0, 0), "progressive.last_weight": 0.0})
    plain = Recipe(dataset="digits", student="cnn2", teacher="cnn4")
    assert PAPER(none) == PAPER(plain)
    own = none.changed({"progressive.last_weight": 1.0, "quantized.methods": ["latent"]})
    assert [type(m) for m in PAPER(own)[-1].methods].count(Latent) == 1


def test_it_begins_from_a_saved_student(recipe, tmp_path):
    path = tmp_path / "student.keras"
    path.touch()
    _, general, *_ = PAPER(recipe.changed(student=str(path)))
    assert general.start == ModelFile(STUDENT, "float student", str(path))


def test_general_data_have_no_labels():
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (n, 4, 4, 1), dtype=np.uint8) for n in (6, 4)]
    task = Split(images[1], np.arange(4) % 2)
    like = ImageData("task", ("a", "b"), task, task, task)
    found = []
    for labels in (np.arange(6), np.zeros(6, np.int64)):
        split = Split(images[0], labels)
        found.append(unlabelled(ImageData("all", tuple("abcdef"), split, None, split), like))
    assert found[0].fingerprint == found[1].fingerprint
    assert (found[0].class_names, found[0].validation) == (("a", "b"), None)
    np.testing.assert_array_equal(found[0].train.images, images[0])
    assert not found[0].train.labels.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"progressive.data": "digits"}, "`progressive.data` belongs to progressive"),
        ({"progressive.teacher": "./x"}, "`progressive.teacher` belongs to progressive"),
        ({"progressive.epochs": (0, 1, 1)}, "`progressive.data` must name"),
        (
            {**EPOCHS, "progressive.teacher": "no/such.keras"},
            "`progressive.teacher` must be the path",
        ),
        ({**EPOCHS}, "`progressive.teacher` must be the path"),
        ({"progressive.epochs": (0, 0, 1), "teacher": "none"}, "`progressive.epochs` needs one"),
        ({"progressive.epochs": (0, 0, 1), "teacher.views": 4}, "`progressive.epochs` needs one"),
        ({"progressive.epochs": (0, 0, 1), "teacher": "cnn4,cnn8"}, "`progressive.epochs` needs"),
    ],
)
def test_what_is_missing_is_said_before_any_work(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(changes)


def test_a_comparison_has_one_float_student(recipe):
    with pytest.raises(ValueError, match="trains one float student"):
        Comparison()(recipe)


@pytest.mark.slow
def test_stages_one_and_two_read_no_label_and_the_run_ends_in_a_model(tmp_path):
    """On tf_keras, with a general teacher of other classes."""
    from tfqkd.compat import keras
    from tfqkd.data import load
    from tfqkd.models import build
    from tfqkd.process.generators import generators_kept
    from tfqkd.training.checking import check
    from tfqkd.training.execution import execution_of, front_of, load_general, strategy_of
    from tfqkd.training.making import Maker
    from tfqkd.training.products import Products

    keras.utils.set_random_seed(0)
    build("cnn4", (8, 8, 1), 7, mean=[80.0], std=[90.0]).save(tmp_path / "general.keras")
    recipe = Recipe(
        {
            **EPOCHS,
            "progressive.epochs": (1, 1, 1),
            "progressive.teacher": str(tmp_path / "general.keras"),
            "data.train_examples": 64,
            "data.crop_padding": 1,
            "training.batch_size": 32,
            "teacher.training.epochs": 1,
            "quantized.training.epochs": 1,
            "training.learning_rate": 0.01,
        },
        dataset="digits",
        student="cnn2",
        teacher="cnn4",
        formats=(),
    )
    front, data = front_of(recipe), load(name="digits", train_examples=64)
    general = unlabelled(dataclasses.replace(data, train=load_general(recipe, data).train), data)
    general = dataclasses.replace(general, train=general.train.take(np.arange(96)))
    garbage = dataclasses.replace(
        general, train=Split(general.train.images, np.arange(96) * 7 % 10)
    )
    kept = []
    with generators_kept(), front.state_kept():
        strategy = strategy_of(recipe, front)
        for number, shown in enumerate((general, garbage)):
            store = Products(tmp_path / "products")
            maker = Maker(data, store, front, strategy, execution_of(recipe), general=shown)
            stages = PAPER(recipe)
            if number == 0:
                check(stages, (), maker)
                last = maker.make(stages[-1])
                assert front.facts(front.load(last)).output_shape == (10,)
            # Up to the second stage; products of other labels are others.
            kept.append(front.load(maker.make(stages[2])).get_weights())
    for weight, other in zip(*kept, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_the_last_stage_is_that_of_the_paper(recipe):
    """But for where it starts, and the latent loss."""
    last = PAPER(recipe)[-1]
    teachers = teachers_of(recipe)
    plain = quantized_of(recipe, student_of(recipe), teachers)
    differs = {
        f.name for f in dataclasses.fields(last) if getattr(last, f.name) != getattr(plain, f.name)
    }
    assert differs == {"start"}
