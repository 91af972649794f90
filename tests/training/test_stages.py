"""The stages of a run on the NumPy front: what is made, under which key, and what an interruption costs."""

import contextlib
import csv
import dataclasses
import os
import shutil
import signal

import numpy as np
import pytest

from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.trainer import Position
from tfqkd.process.interruption import Interrupted, orderly
from tfqkd.progress import ProgressBar
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.checkpoints import Checkpoints
from tfqkd.training.products import Products
from tfqkd.training.stage import walk

from . import numpy_front, regressions
from .staged import Staged

CLASSES = 4
RECIPE = Recipe(
    {
        "teacher.training.epochs": 1,
        "student.training.epochs": 3,
        "quantized.training.epochs": 3,
        "training.batch_size": 16,
        "data.crop_padding": 1,
        "training.milestones": (0.4,),
        "quantized.training.learning_rate": 0.05,
    },
    dataset="stripes",
    student="cnn2",
    teacher="cnn3",
    formats=(),
)


def make_split(count, seed):
    """Noisy images with a bright stripe, whose row is the class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    images = generator.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 100
    return Split(images, labels)


DATA = ImageData("stripes", tuple("abcd"), make_split(70, 0), make_split(30, 1), make_split(40, 2))


def make_stages(recipe, directory, data=DATA):
    return Staged(recipe, data, Products(directory), numpy_front, numpy_front.Strategy())


def save_model(path, seed, classes=CLASSES, **options):
    regressions.save_model(path, seed, classes, **options)


def with_models(directory, **settings):
    """A recipe of a saved student and teacher."""
    for seed, role in enumerate(("student", "teacher")):
        save_model(directory / f"{role}.keras", seed)
    models = {role: str(directory / f"{role}.keras") for role in ("student", "teacher")}
    return RECIPE.changed({**models, **settings})


def read_rows(file):
    """The history without the seconds, which are never the same."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def kernel_of(path):
    return numpy_front.load(path).kernel


def assert_same_weights(first, second):
    for one, other in zip(
        *(numpy_front.load(path).weights() for path in (first, second)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def after_step(monkeypatch, act):
    """Calls `act(epoch, step)` after each step."""
    original = ProgressBar.on_train_batch_end

    def on_train_batch_end(self, index, logs):
        original(self, index, logs)
        act(self._epoch, index)

    monkeypatch.setattr(ProgressBar, "on_train_batch_end", on_train_batch_end)


@contextlib.contextmanager
def interrupted(epoch, step):
    """Interrupts what is trained inside after a step of an epoch, both counted from 0."""

    def act(*position):
        if position == (epoch, step):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        after_step(patch, act)
        yield


def test_a_float_stage_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, capsys):
    at_once = make_stages(RECIPE, tmp_path / "at_once").student()
    stages = make_stages(RECIPE, tmp_path / "interrupted")
    # After the last batch of the second epoch, before it is kept: the epoch runs again.
    with interrupted(epoch=1, step=3):
        stages.student()
    capsys.readouterr()
    in_parts = stages.student()
    assert "float student (cnn2), seed 0: goes on after epoch 1." in capsys.readouterr().out
    assert in_parts.parent.name == at_once.parent.name
    assert_same_weights(in_parts, at_once)
    rows = read_rows(in_parts.parent / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows == read_rows(at_once.parent / "history.csv")


@pytest.mark.parametrize("teacher_views", [0, 2], ids=["live teacher", "kept logits"])
@pytest.mark.parametrize("bits", [2, 32])
def test_a_quantized_stage_that_was_interrupted_ends_as_if_it_had_not_been(
    tmp_path, teacher_views, bits
):
    recipe = with_models(
        tmp_path,
        bits=bits,
        schedule="cosine",
        **{
            "distil.schedule_on": "step",
            "training.schedule": "cosine",
            "teacher.views": teacher_views,
        },
    )
    at_once = make_stages(recipe, tmp_path / "at_once").quantized()
    stages = make_stages(recipe, tmp_path / "interrupted")
    with interrupted(epoch=1, step=1):
        stages.quantized()
    in_parts = stages.quantized()
    assert_same_weights(in_parts / "model.keras", at_once / "model.keras")
    rows = read_rows(in_parts / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows == read_rows(at_once / "history.csv")
    # Four steps an epoch, twelve in all: λ is that of each epoch's last step.
    expected = [(1 + np.cos(np.pi * step / 11)) / 2 for step in (3, 7, 11)]
    np.testing.assert_allclose([float(row["coefficient"]) for row in rows], expected, atol=1e-6)


# Four steps an epoch, three epochs. Of those after 4 and 8 steps the epoch's end follows.
@pytest.mark.parametrize("stops", [(1, 7), (6, 5), (4, 4), (3, 1, 1, 1, 1)])
def test_sigterm_at_any_step_costs_nothing(tmp_path, capsys, stops):
    recipe = with_models(tmp_path, schedule="cosine", **{"distil.schedule_on": "step"})
    at_once = make_stages(recipe, tmp_path / "at_once").quantized()
    stages = make_stages(recipe, tmp_path / "interrupted")
    done = 0
    for steps in stops:
        made = []

        def stop(*position, made=made, steps=steps):
            made.append(position)
            if len(made) == steps:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.MonkeyPatch.context() as patch, orderly():
            after_step(patch, stop)
            with pytest.raises(Interrupted) as error:
                stages.quantized()
        done += steps
        where = Position(*divmod(done, 4))
        assert str(error.value).startswith(f"Stopped by SIGTERM after {where} of the ternary")
    in_parts = stages.quantized()
    assert f"goes on after {where}." in capsys.readouterr().out
    assert_same_weights(in_parts / "model.keras", at_once / "model.keras")
    # The averages of an epoch are over all of its steps, those before the stop too.
    assert read_rows(in_parts / "history.csv") == read_rows(at_once / "history.csv")


def test_checkpoints_are_written_every_so_many_steps_and_go_with_the_last(tmp_path, monkeypatch):
    recipe = RECIPE.changed({"student.training.epochs": 2, "run.checkpoint_every": "3"})
    saved, save = [], Checkpoints.save

    def watched(checkpoints, position):
        save(checkpoints, position)
        saved.append(position)

    monkeypatch.setattr(Checkpoints, "save", watched)
    product = make_stages(recipe, tmp_path).student().parent
    assert saved == [(0, 3), (1, 0), (1, 3), (2, 0)]
    # What was trained is whole: there is nothing left to go on with.
    names = {path.name for path in product.iterdir()}
    layers = {"quantization.txt", "quantization.json"}
    assert names == {"history.csv", "model.keras", "product.json", *layers}


def test_a_stage_that_was_interrupted_after_its_last_epoch_is_only_saved(
    tmp_path, monkeypatch, no_training
):
    def killed(*_):
        raise KeyboardInterrupt

    stages = make_stages(RECIPE.changed({"student.training.epochs": 0}), tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(numpy_front, "strip", killed)
        stages.student()
    assert stages.student().exists()


def test_logits_that_a_run_kept_are_read_under_other_settings_of_the_student(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    recipe = with_models(
        tmp_path,
        **{"quantized.training.epochs": 2, "teacher.cache": str(cache), "teacher.views": 2},
    )
    make_stages(recipe, tmp_path / "first").quantized()
    assert len(list(cache.glob("logits-*/logits.f16"))) == 2

    def asked(*_):
        raise AssertionError("The teacher was asked.")

    monkeypatch.setattr("tfqkd.training.teacher_cache.write_logits", asked)
    other = recipe.changed({"training.batch_size": 8}, seed=3, temperature=5.0, schedule="constant")
    quantized = make_stages(other, tmp_path / "second").quantized()
    assert float(read_rows(quantized / "history.csv")[-1]["soft_loss"]) > 0
    with pytest.raises(AssertionError, match="was asked"):
        make_stages(recipe.changed({"data.crop_padding": 0}), tmp_path / "third").quantized()


def test_the_seed_and_nothing_else_decides_the_first_weights(tmp_path, no_training):
    def student(name, **changes):
        recipe = RECIPE.changed({"student.training.epochs": 0, **changes})
        return make_stages(recipe, tmp_path / name).student()

    first = student("first")
    assert_same_weights(first, student("again", seed=5, **{"run.pretrain_seed": 0}))
    assert not np.array_equal(kernel_of(first), kernel_of(student("other", seed=5)))


def test_a_teacher_of_the_students_architecture_is_another_network(tmp_path, no_training):
    recipe = RECIPE.changed(
        {"teacher.training.epochs": 0, "student.training.epochs": 0}, teacher="cnn2"
    )
    stages = make_stages(recipe, tmp_path)
    (teacher,) = stages.teachers()
    assert np.abs(kernel_of(teacher) - kernel_of(stages.student())).max() > 0.1


def test_no_two_trainings_of_a_run_show_the_same_order_or_views(tmp_path, monkeypatch):
    seeds, make = [], numpy_front.trainer

    def noted(network, fitting, data):
        seeds.append(fitting.seed)
        return make(network, fitting, data)

    monkeypatch.setattr(numpy_front, "trainer", noted)
    make_stages(RECIPE.changed(teacher="cnn2"), tmp_path).quantized()
    assert len(set(seeds)) == len(seeds) == 3


@pytest.mark.parametrize("teacher_views", [0, 2])
def test_the_float_student_is_taught_where_the_recipe_says_so(tmp_path, teacher_views):
    save_model(tmp_path / "teacher.keras", seed=1)
    recipe = RECIPE.changed(
        {
            "student.training.epochs": 2,
            "distil.float_student": True,
            "teacher.views": teacher_views,
        },
        teacher=str(tmp_path / "teacher.keras"),
        temperature=3.0,
        coefficient=0.6,
    )
    taught = make_stages(recipe, tmp_path).student()
    rows = read_rows(taught.with_name("history.csv"))
    assert [float(row["coefficient"]) for row in rows] == pytest.approx([0.6, 0.0])
    assert {float(row["temperature"]) for row in rows} == {3.0}
    assert all(float(row["soft_loss"]) > 0 for row in rows)


def test_a_taught_float_student_depends_on_its_teacher_and_an_untaught_one_does_not(
    tmp_path, no_training
):
    def student(seed, **changes):
        path = tmp_path / f"teacher{seed}.keras"
        save_model(path, seed)
        changes = {"teacher": str(path), **changes}
        recipe = RECIPE.changed({"student.training.epochs": 0, **changes})
        return make_stages(recipe, tmp_path / "products").student()

    alone = student(1)
    assert student(2) == student(1, temperature=9.0) == alone
    assert student(1, teacher="none", **{"distil.float_student": True}) == alone
    taught = [
        student(1, **{"distil.float_student": True}),
        student(2, **{"distil.float_student": True}),
    ]
    hotter = student(1, temperature=9.0, **{"distil.float_student": True})
    assert len({alone, *taught, hotter}) == 4


def test_a_copy_of_a_teacher_is_no_second_teacher(tmp_path):
    first, copy = tmp_path / "first.keras", tmp_path / "copy.keras"
    save_model(first, seed=1)
    shutil.copy(first, copy)
    recipe = RECIPE.changed(teacher=f"{first},{copy}")
    with pytest.raises(
        ValueError, match=r"must be different models.*copy.keras, which has the same contents"
    ):
        make_stages(recipe, tmp_path / "products").check()


def test_the_quantized_stage_starts_from_the_float_student(tmp_path, no_training):
    recipe = RECIPE.changed(
        {"student.training.epochs": 0, "quantized.training.epochs": 0}, teacher="none"
    )
    kernels = []
    for bits in (32, 2):
        stages = make_stages(recipe.changed(bits=bits), tmp_path)
        kernels.append(kernel_of(stages.quantized() / "model.keras"))
    np.testing.assert_array_equal(kernels[0], kernel_of(stages.student()))
    step = np.abs(kernels[0]).max()
    np.testing.assert_allclose(kernels[1], step * np.round(kernels[0] / step), rtol=1e-6)


@dataclasses.dataclass
class Replicas:
    """Stands for a place in what a key asks of it."""

    replicas: int


def keys_of(recipe, directory, replicas=1):
    """The key of each stage, and of what it depends on."""
    stages = Staged(recipe, DATA, Products(directory), numpy_front, Replicas(replicas))
    return [stages.maker.key(stage) for stage in walk(stages.stages)]


def test_replicas_with_their_own_batch_norm_train_another_model(tmp_path):
    def keys(count, **settings):
        return keys_of(RECIPE.changed(settings), tmp_path, count)

    one, two, three = (keys(count) for count in (1, 2, 3))
    # One device is what any number of them is where they change nothing.
    assert all("replicas" not in key for key in one)
    for count, many in ((2, two), (3, three)):
        for key, alone in zip(many, one, strict=True):
            inputs = {name: key.pop(name) for name in ("start", "teachers") if name in key}
            assert key == {**{n: v for n, v in alone.items() if n not in inputs}, "replicas": count}
    together = {"run.synchronized_batch_norm": True}
    assert keys(1, **together) == keys(2, **together)


def test_another_file_under_the_same_path_is_another_model(tmp_path, no_training):
    recipe = with_models(tmp_path, bits=32, **{"quantized.training.epochs": 0})

    def product():
        return make_stages(recipe, tmp_path / "products").quantized()

    first = product()
    assert product() == first
    save_model(tmp_path / "student.keras", seed=2)
    second = product()
    save_model(tmp_path / "teacher.keras", seed=3)
    assert len({first, second, product()}) == 3
    assert_same_weights(second / "model.keras", tmp_path / "student.keras")


def test_stages_begin_from_files_of_weights_and_depend_on_what_is_in_them(tmp_path, no_training):
    files = {role: tmp_path / f"{role}.h5" for role in ("teacher", "student")}
    for seed, file in enumerate(files.values()):
        save_model(file, seed)
    recipe = RECIPE.changed(
        {
            **{f"{role}.weights": str(file) for role, file in files.items()},
            **{f"{stage}.training.epochs": 0 for stage in ("teacher", "student", "quantized")},
        },
        teacher="applications:MobileNet",
        student="applications:MobileNet",
    )

    def made(recipe):
        stages = make_stages(recipe, tmp_path / "products")
        stages.check()
        return [*stages.teachers(), stages.student(), stages.quantized()]

    first = made(recipe)
    for path, file in zip(first, files.values(), strict=False):
        np.testing.assert_array_equal(kernel_of(path), kernel_of(file))
    shutil.copy(files["student"], tmp_path / "copy.h5")
    assert made(recipe.changed({"student.weights": str(tmp_path / "copy.h5")})) == first
    save_model(files["student"], seed=3)
    teacher, student, quantized = made(recipe)
    assert teacher == first[0] and student != first[1] and quantized != first[2]


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_weights_that_do_not_fit_are_refused_before_training(tmp_path, no_training, role):
    save_model(tmp_path / "weights.h5", seed=1, classes=CLASSES + 1)
    weights = {f"{role}.weights": str(tmp_path / "weights.h5")}
    recipe = RECIPE.changed({role: "applications:MobileNet", **weights})
    with pytest.raises(ValueError, match="must fit the data set"):
        make_stages(recipe, tmp_path / "products").check()


def test_a_saved_student_is_used_as_it_is(tmp_path, no_training):
    recipe = with_models(tmp_path)
    stages = make_stages(recipe, tmp_path / "products")
    assert stages.student() == tmp_path / "student.keras"
    assert not (tmp_path / "products").exists()


def test_a_stage_that_diverges_is_refused_and_not_kept(tmp_path, monkeypatch):
    rate = numpy_front.Trainer._rate
    monkeypatch.setattr(numpy_front.Trainer, "_rate", lambda self: rate(self) * np.nan)
    stages = make_stages(RECIPE, tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"loss must stay finite.*float teacher"):
            stages.quantized()
    assert [entry.name for entry in tmp_path.iterdir() if entry.suffix == ""] == []


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_model_of_other_classes_or_images_is_refused_before_training(tmp_path, no_training, role):
    path = tmp_path / "model.keras"
    save_model(path, seed=0, classes=7)
    recipe = RECIPE.changed({role: str(path)})
    with pytest.raises(ValueError, match=r"must fit the data set stripes: .*4 classes.*\(7,\)"):
        make_stages(recipe, tmp_path / "p").check()
    save_model(path, seed=0, image_shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"images \(8, 8, 1\).*from \(8, 8, 3\)"):
        make_stages(recipe, tmp_path / "p").check()


def test_models_that_fit_pass_the_check(tmp_path, no_training):
    make_stages(RECIPE, tmp_path / "products").check()
    make_stages(with_models(tmp_path, **{"training.batch_size": 70}), tmp_path / "products").check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.batch_size": 71}, "`batch_size` must be 1 to 70"),
        ({"quantize.layer_bits": ("conv9=4",)}, "must name layers"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_training(
    tmp_path, no_training, changes, message
):
    with pytest.raises(ValueError, match=message):
        make_stages(RECIPE.changed(changes), tmp_path).check()
