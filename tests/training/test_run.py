"""A whole run on the NumPy front: what it leaves, what it shares, and what it refuses."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from tfqkd import fronts
from tfqkd.data import load
from tfqkd.recipe.recipe import Recipe
from tfqkd.reporting.results import rows_of
from tfqkd.training.directory import RunDirectory
from tfqkd.training.history import read_history
from tfqkd.training.presets import BornAgain, Chain, Comparison
from tfqkd.training.results import ModelResult, Results
from tfqkd.training.run import run

from . import numpy_front
from .regressions import save_model

RECIPE = Recipe(
    {
        "data.crop_padding": 1,
        "data.flip": False,
        "teacher.training.epochs": 2,
        "student.training.epochs": 2,
        "quantized.training.epochs": 2,
        "training.batch_size": 64,
        "training.schedule": "cosine",
        "quantized.training.learning_rate": 0.05,
    },
    dataset="digits",
    student="cnn2",
    teacher="cnn4",
    formats=(),
)

pytestmark = pytest.mark.usefixtures("on_numpy_front")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, its directory and its results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)
        directory = tmp_path_factory.mktemp("run") / "finished"
        return Finished(directory, run(RECIPE, directory))


@dataclasses.dataclass(frozen=True)
class Finished:
    directory: pathlib.Path
    results: dict

    @property
    def products(self):
        return self.directory / "products"


@pytest.fixture(scope="module")
def digits():
    return load("digits").test


def directories(path):
    return {entry.name for entry in path.iterdir() if entry.is_dir()}


def untrained(directory, **settings):
    """A recipe that takes a saved student as it is: it runs at once."""
    save_model(directory / "student.keras", seed=0, classes=10)
    student = str(directory / "student.keras")
    changes = {"student": student, "teacher": "none", "bits": 32, "quantized.training.epochs": 0}
    return RECIPE.changed({**changes, **settings})


def numpy_figures(path, split):
    """Accuracy, top-5 and loss of a saved model by plain counting."""
    logits = numpy_front.load(path)(split.images).astype(np.float64)
    of_label = logits[np.arange(len(split)), split.labels]
    ranks = (logits > of_label[:, None]).sum(axis=1)
    losses = np.log(np.exp(logits).sum(axis=1)) - of_label
    return (ranks < 1).mean(), (ranks < 5).mean(), losses.mean()


def test_the_results_are_those_of_the_saved_models(finished, digits):
    roles = ["float teacher", "float student", "ternary student, gradual coefficient"]
    models = finished.results.models
    assert [model.label for model in models] == roles
    assert [model.name for model in models] == ["cnn4", "cnn2", "cnn2"]
    assert {model.parameters for model in models} == {650}
    assert models[-1].quantized_share == pytest.approx(640 / 650)
    for model in models:
        accuracy, top5, loss = numpy_figures(finished.directory / model.model, digits)
        assert model.accuracy == accuracy > 0.15
        assert model.top5 == top5
        assert model.loss == pytest.approx(loss, rel=1e-5)
    assert finished.results.class_names == tuple("0123456789")
    kernel = numpy_front.load(finished.directory / models[-1].model).kernel
    assert len(np.unique(kernel)) == 3


def test_the_directory_holds_all_that_was_promised(finished):
    names = {entry.name for entry in finished.directory.iterdir()}
    assert names == {
        ".lock",
        "products",
        "quantization.txt",
        "recipe.json",
        "replicas.txt",
        "results.json",
        "preset.json",
        "uses.json",
    }
    kept = Recipe.from_json((finished.directory / "recipe.json").read_text())
    # What is left to the machine is written as it was decided.
    assert kept == RECIPE.changed({"data.stream": "off"})
    assert Results.read(finished.directory) == finished.results
    kinds = {name.split("-")[0] for name in directories(finished.products)}
    assert kinds == {"teacher", "student", "quantized", "measured"}


def test_a_run_that_is_done_returns_its_results_at_once(finished, monkeypatch):
    monkeypatch.setattr("tfqkd.training.run.load_data", None)
    assert run(RECIPE, finished.directory) == finished.results
    # What leaves the result as it is does not make it another recipe.
    elsewhere = RECIPE.changed({"run.jit_compile": True}, data_dir="/elsewhere")
    assert run(elsewhere, str(finished.directory)) == finished.results


def test_another_recipe_on_the_same_directory_is_refused(finished):
    with pytest.raises(ValueError) as error:
        run(RECIPE.changed(temperature=3.0, bits=4), finished.directory)
    assert str(error.value) == (
        f"A run directory belongs to one recipe. Received: another one for {finished.directory}:\n"
        "  bits: 2 there, 4 given\n"
        "  temperature: 2.0 there, 3.0 given\n"
        "Give another --run_dir, or the recipe of this one."
    )
    assert run(RECIPE, finished.directory) == finished.results


def test_a_run_that_lost_only_its_results_trains_nothing(finished, tmp_path, no_training):
    results = run(RECIPE, tmp_path / "run", products=finished.products, command=["train", "a b"])
    assert [dataclasses.replace(model, model="") for model in results.models] == [
        dataclasses.replace(model, model="") for model in finished.results.models
    ]
    assert results.export == finished.results.export
    assert (tmp_path / "run" / "command.txt").read_text() == (
        f"train 'a b'  # in {pathlib.Path.cwd()}\n"
    )
    assert not (tmp_path / "run" / "products").exists()


def test_another_version_of_the_package_takes_what_is_there(
    finished, tmp_path, monkeypatch, no_training
):
    before = directories(finished.products)
    for name in ("tfqkd.version.__version__", "tfqkd.__version__"):
        monkeypatch.setattr(name, "9.9.9")
    run(RECIPE, tmp_path / "run", products=finished.products)
    assert directories(finished.products) == before


def test_runs_that_share_products_train_teacher_and_student_once(finished, tmp_path, no_training):
    products = tmp_path / "products"
    shutil.copytree(finished.products, products)
    before = directories(products)
    recipe = RECIPE.changed({"quantized.training.epochs": 0}, bits=3, formats=())
    results = run(recipe, tmp_path / "run", products=products)
    made = sorted(name.split("-")[0] for name in directories(products) - before)
    assert made == ["measured", "quantized"]
    for model, was in zip(results.models[:2], finished.results.models[:2], strict=True):
        assert model == dataclasses.replace(was, model=model.model)
        path = (tmp_path / "run" / model.model).resolve()
        assert path == (products / was.model.removeprefix("products/")).resolve()
    assert results.models[2].label == "3-bit student, gradual coefficient"
    assert results.export == ()
    assert not (tmp_path / "run" / "export").exists()
    kernel = numpy_front.load(tmp_path / "run" / results.models[2].model).kernel
    assert 3 < len(np.unique(kernel)) <= 7


def test_a_teacher_of_other_classes_is_refused_before_any_training(tmp_path, no_training):
    save_model(tmp_path / "seven.keras", seed=0, classes=7)
    recipe = RECIPE.changed(teacher=str(tmp_path / "seven.keras"))
    with pytest.raises(ValueError, match=r"must fit the data set digits: .*10 classes.*\(7,\)"):
        run(recipe, tmp_path / "run")


def test_a_run_that_was_refused_leaves_its_directory_to_another_recipe(tmp_path, no_training):
    for wrong in ({"dataset": "folder:/no/such/folder"}, {"quantize.layer_bits": ("conv9=4",)}):
        with pytest.raises(ValueError, match=r"conv9|folder"):
            run(RECIPE.changed(wrong), tmp_path / "run")
    assert len(run(untrained(tmp_path), tmp_path / "run").models) == 2


def test_saved_teachers_and_student_are_measured_one_by_one(tmp_path, digits, no_training):
    paths = [tmp_path / f"{name}.keras" for name in ("first", "second", "student")]
    for seed, path in enumerate(paths):
        save_model(path, seed, classes=10)
    recipe = RECIPE.changed(
        {"quantized.training.epochs": 0},
        teacher=f"{paths[0]},{paths[1]}",
        student=str(paths[2]),
        bits=32,
        formats=(),
    )
    models = run(recipe, tmp_path / "run").models
    assert [model.label for model in models] == [
        "float teacher 1",
        "float teacher 2",
        "float student",
        "float student, gradual coefficient",
    ]
    for model, path in zip(models, [*paths, paths[2]], strict=True):
        assert model.accuracy == numpy_figures(path, digits)[0]
    assert [(tmp_path / "run" / model.model).resolve() for model in models[:3]] == paths
    assert {name.split("-")[0] for name in directories(tmp_path / "run" / "products")} == {
        "quantized",
        "measured",
    }


def test_a_run_that_was_begun_on_two_devices_does_not_go_on_with_one(tmp_path, no_training):
    recipe = untrained(tmp_path)
    directory = RunDirectory(tmp_path / "run", recipe)
    directory.begin(replicas=2)
    with pytest.raises(ValueError, match="2 there, 1 now"):
        run(recipe, tmp_path / "run")
    # What is done is shown wherever it is asked for.
    figures = {"parameters": 1, "accuracy": 0.5, "top5": 1, "loss": 1.5}
    names = {"role": "quantized", "label": "float student", "model": "m.keras", "name": "m"}
    results = Results(models=(ModelResult(**names, **figures),))
    directory.write_results(results)
    assert run(recipe, tmp_path / "run") == results


def test_a_train_set_is_the_asked_subset(tmp_path, no_training):
    data = load("digits", train_examples=100, validation_split=0.1)
    run(
        untrained(tmp_path, **{"data.train_examples": 100, "data.validation_split": 0.1}),
        tmp_path / "run",
    )
    (product,) = (tmp_path / "run" / "products").glob("quantized-*/product.json")
    assert json.loads(product.read_text())["data"] == data.fingerprint
    assert len(data.train) == 100


def test_what_lies_beside_a_saved_model_is_left_alone(tmp_path, no_training):
    recipe = untrained(tmp_path)
    (tmp_path / "history.csv").write_text("epoch,note\n1,mine\n")
    assert len(run(recipe, tmp_path / "run").models) == 2


def test_data_that_is_given_is_not_loaded_again(tmp_path, monkeypatch):
    from tfqkd.training import run as module

    recipe = untrained(tmp_path)
    data = module.load_data(recipe)
    with monkeypatch.context() as patch:
        patch.setattr(module, "load_data", lambda recipe: pytest.fail("loaded again"))
        with_data = run(recipe, tmp_path / "with", data=data)
    without = run(recipe, tmp_path / "without", products=tmp_path / "with" / "products")
    assert with_data.models[-1].loss == without.models[-1].loss


@pytest.mark.parametrize(
    "settings",
    [
        {"run.strategy": "mirrored"},
        {"run.jit_compile": True},
        {"run.mixed_precision": "mixed_float16"},
    ],
)
def test_what_the_front_does_not_do_is_refused_before_anything_is_made(tmp_path, settings):
    (name,) = settings
    recipe = untrained(tmp_path).changed(settings)
    with pytest.raises(ValueError, match=f"`{name}` must be what this front does"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_comparison_is_one_run_of_saved_models(tmp_path, digits, no_training):
    for seed, role in enumerate(("teacher", "student")):
        save_model(tmp_path / f"{role}.keras", seed, classes=10)
    models = {role: str(tmp_path / f"{role}.keras") for role in ("teacher", "student")}
    changes = {"bits": 32, "quantized.training.epochs": 0, "formats": ()}
    recipe = RECIPE.changed({**models, **changes})
    results = run(recipe, tmp_path / "run", preset=Comparison(repeats=2))
    right = {role: numpy_figures(tmp_path / f"{role}.keras", digits)[0] for role in models}
    teacher, student, *variants = rows_of(results)
    assert [teacher.accuracies, student.accuracies] == [(right["teacher"],), (right["student"],)]
    # No epoch has passed: every student is the float one.
    assert [row.accuracies for row in variants] == [(right["student"],) * 2] * 3
    assert [model.seed for row in variants for model in row.models] == [1, 0] * 3
    names = [name.split("-")[0] for name in directories(tmp_path / "run" / "products")]
    assert {name: names.count(name) for name in set(names)} == {"quantized": 6, "measured": 8}
    # It is done, and the same directory takes no other.
    assert run(recipe, tmp_path / "run", preset=Comparison(repeats=2)) == results
    with pytest.raises(ValueError, match="repeats: 2 there, 3 given"):
        run(recipe, tmp_path / "run", preset=Comparison(repeats=3))


def test_a_comparison_trains_what_single_runs_train(finished, tmp_path):
    products = tmp_path / "products"
    shutil.copytree(finished.products, products)
    before = directories(products)
    results = run(RECIPE, tmp_path / "run", products, preset=Comparison(controls=True))
    assert [row.label for row in rows_of(results)] == [
        "float teacher",
        "float student",
        "float, no teacher",
        "ternary, no teacher",
        "ternary, teacher's term off",
        "ternary, teacher, fixed coefficient",
        "ternary, teacher, annealed coefficient",
    ]
    made = [name.split("-")[0] for name in directories(products) - before]
    assert sorted(made) == [*["measured"] * 4, *["quantized"] * 4]
    shown = dataclasses.replace(results.student, label="", model="")
    assert shown == dataclasses.replace(finished.results.student, label="", model="")


def test_a_born_again_student_is_taught_by_the_one_that_there_is(finished, tmp_path):
    products = tmp_path / "products"
    shutil.copytree(finished.products, products)
    before = directories(products)
    results = run(RECIPE, tmp_path / "run", products, preset=BornAgain(2))
    made = [name.split("-")[0] for name in directories(products) - before]
    # The first generation is the student of the paper's job.
    assert sorted(made) == ["measured", "quantized"]
    labels = [row.label for row in results.models]
    assert labels[-2:] == [f"{RECIPE.title}, generation {number}" for number in (1, 2)]
    assert results.student.accuracy > 0


def test_an_assistant_is_trained_between_teacher_and_student(finished, tmp_path):
    products = tmp_path / "products"
    shutil.copytree(finished.products, products)
    before = directories(products)
    results = run(RECIPE, tmp_path / "run", products, preset=Chain(("cnn3",)))
    made = {name.split("-")[0] for name in directories(products) - before}
    assert made == {"assistant", "quantized", "measured"}
    assistant = results.models[1]
    assert (assistant.label, assistant.name, assistant.seed) == ("float assistant 1", "cnn3", 0)
    history = read_history(tmp_path / "run" / assistant.model.replace("model.keras", "history.csv"))
    assert [row["coefficient"] for row in history] == [1.0, 0.0]
