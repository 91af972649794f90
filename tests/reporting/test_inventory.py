"""What is listed and removed, against what runs of the NumPy front say that they use."""

import json
import shutil

import pytest
from training import numpy_front

from tfqkd import fronts
from tfqkd.recipe.recipe import Recipe
from tfqkd.reporting.inventory import inventory, prune
from tfqkd.storage import locked_at_once
from tfqkd.training.products import FORMATS
from tfqkd.training.run import run

RECIPE = Recipe(
    {
        "teacher.training.epochs": 1,
        "student.training.epochs": 1,
        "quantized.training.epochs": 1,
        "training.batch_size": 64,
        "teacher.views": 2,
    },
    dataset="digits",
    student="cnn2",
    teacher="cnn4",
    formats=(),
)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A run, and one at a higher temperature in its products; they share all but the last stage."""
    from training import numpy_front

    from tfqkd import fronts

    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)
        for name, temperature in (("a", 1.0), ("b", 9.0)):
            recipe = RECIPE.changed(temperature=temperature)
            run(recipe, root / name, root / "a" / "products")
    return root


@pytest.fixture
def runs(two_runs, tmp_path):
    return shutil.copytree(two_runs, tmp_path / "runs")


def listed(run_directory):
    return {product.path.name: product for product in inventory(run_directory)}


def models_of(run_directory):
    results = json.loads((run_directory / "results.json").read_text())
    return {(run_directory / model["model"]).resolve().parent.name for model in results["models"]}


def test_a_product_is_listed_with_the_runs_that_use_it(runs):
    products = listed(runs / "a")
    stages = sorted(product.stage for product in products.values())
    assert stages == [*["logits"] * 2, *["measured"] * 4, *["quantized"] * 2, "student", "teacher"]
    for name in ("a", "b"):
        used = {each for each, product in products.items() if name in product.users}
        assert models_of(runs / name) == {
            each for each in used if products[each].stage in ("teacher", "student", "quantized")
        }
    for name, product in products.items():
        files = [file for file in product.path.rglob("*") if file.is_file()]
        assert product.bytes == sum(len(file.read_bytes()) for file in files) > 0
        assert not product.locked and not product.idle, name
    roles = {product.role for product in products.values()}
    assert {
        "float teacher (cnn4), seed 0",
        "float student (cnn2), seed 0",
        "ternary student, gradual coefficient (cnn2), seed 0",
    } < roles


def test_what_a_run_beside_uses_stays(runs):
    before = listed(runs / "a")
    assert prune(runs / "a") == []
    assert listed(runs / "a").keys() == before.keys()


def test_what_no_run_uses_goes_with_what_was_measured_of_it(runs):
    gone = models_of(runs / "b") - models_of(runs / "a")
    shutil.rmtree(runs / "b")
    before = listed(runs / "a")
    removed = prune(runs / "a")
    assert gone < {product.path.name for product in removed}
    assert sorted(product.stage for product in removed) == ["measured", "quantized"]
    assert sum(product.bytes for product in removed) == sum(
        product.bytes for product in before.values()
    ) - sum(product.bytes for product in inventory(runs / "a"))
    assert models_of(runs / "a") < listed(runs / "a").keys()
    assert not list((runs / "a" / "products").glob(".tfqkd-*"))
    assert prune(runs / "a") == []


def test_another_format_of_a_stage_is_used_by_nothing(runs, monkeypatch):
    monkeypatch.setattr(
        "tfqkd.reporting.inventory.FORMATS",
        {
            **FORMATS,
            "teacher": 2,
        },
    )
    idle = {product.stage for product in inventory(runs / "a") if product.idle}
    # Nor is what was made with it.
    assert idle == {"teacher", "quantized", "measured"}


def test_what_a_process_makes_stays(runs):
    (quantized,) = models_of(runs / "b") - models_of(runs / "a")
    shutil.rmtree(runs / "b")
    with locked_at_once(runs / "a" / "products" / f"{quantized}.lock"):
        assert listed(runs / "a")[quantized].locked
        assert quantized not in {product.path.name for product in prune(runs / "a")}
    assert (runs / "a" / "products" / quantized).is_dir()


def test_nothing_goes_while_a_run_is_at_work(runs):
    with (
        locked_at_once(runs / "b" / ".lock"),
        pytest.raises(
            RuntimeError, match=r"no process works.*Received: .*/b, which a process works on"
        ),
    ):
        prune(runs / "a")


def test_a_model_that_a_run_names_by_its_path_stays(runs, monkeypatch):
    monkeypatch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)
    (quantized,) = models_of(runs / "b") - models_of(runs / "a")
    teacher = runs / "a" / "products" / quantized / "model.keras"
    changes = {
        "student": str(teacher),
        "teacher": "none",
        "bits": 32,
        "quantized.training.epochs": 0,
    }
    run(RECIPE.changed(changes), runs / "c")
    shutil.rmtree(runs / "b")
    assert listed(runs / "a")[quantized].users == ("c",)


def test_a_run_of_before_uses_the_models_of_its_results(runs):
    for name in ("a", "b"):
        (runs / name / "uses.json").unlink()
    products = listed(runs / "a")
    for name in ("a", "b"):
        assert models_of(runs / name) < {n for n, each in products.items() if name in each.users}
    gone = models_of(runs / "b") - models_of(runs / "a")
    shutil.rmtree(runs / "b")
    removed = {product.stage for product in prune(runs / "a") if product.stage != "logits"}
    assert removed == {"quantized", "measured"}
    assert gone.isdisjoint(listed(runs / "a"))


def test_what_is_unfinished_stays_for_a_run_that_is(runs):
    partial = runs / "a" / "products" / f"teacher-{'0' * 12}.partial"
    (partial / "checkpoints").mkdir(parents=True)
    (runs / "b" / "results.json").unlink()
    assert listed(runs / "a")[partial.name].users == ("b",)
    assert prune(runs / "a") == []
    shutil.rmtree(runs / "b")
    assert partial.name in {product.path.name for product in prune(runs / "a")}
    assert not partial.exists()


def test_other_files_and_directories_are_not_touched(runs):
    others = [runs / "a" / "products" / name for name in ("mine", "teacher-mine", "teacher.txt")]
    for other in others:
        other.mkdir()
    shutil.rmtree(runs / "b")
    prune(runs / "a")
    assert all(other.is_dir() for other in others)


def test_a_directory_without_products_is_refused(runs):
    for call in (inventory, prune):
        with pytest.raises(ValueError, match=r"Received: .*/b, which has none"):
            call(runs / "b")
