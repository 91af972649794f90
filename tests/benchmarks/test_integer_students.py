"""Networks of integers that come with tfqkd, as they are made of finished runs."""

import json
import shutil

import numpy as np
import pytest

from benchmarks import integer_students
from tfqkd.data.images import ImageData, Split
from tfqkd.models import load_pretrained, pretrained_file
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.results import ModelResult, Results

NAME = "resnet20_w2a8_cifar10"
KERNELS = [("stem", 432, 126), ("second", 200_000, 1), ("third", 69_824, 1), ("logits", 640, 127)]


@pytest.fixture
def data():
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    labels = load_pretrained(NAME)(images).argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 10
    split = Split(images, labels)
    return ImageData("cifar10", tuple("abcdefghij"), split, None, split)


@pytest.fixture
def run(tmp_path):
    """A finished run, as its directory tells it; its files are those of a network that comes along."""
    folder = tmp_path / "run"
    (folder / "export").mkdir(parents=True)
    for suffix in (".tflite", ".packed"):
        file = pretrained_file(NAME).with_suffix(suffix)
        shutil.copy(file, folder / "export" / f"student-w2a8{suffix}")
    quantized = [{"weights": count, "max_code": code} for _, count, code in KERNELS]
    (folder / "export" / "reports.json").write_text(json.dumps([{"quantized": quantized}]))
    (folder / "history.csv").write_text("epoch,seconds\n1,60.0\n2,66.0\n")
    figures = {"name": "resnet20", "parameters": 272_474, "top5": 1.0, "loss": 0.5}
    models = [
        ModelResult(role=role, label=role, model=model, accuracy=accuracy, **figures)
        for role, model, accuracy in (
            ("teacher", "../weights/wrn20x1.5_cifar10.keras", 0.93),
            ("student", "../weights/resnet20_ternary_cifar10.keras", 0.875),
            ("quantized", "model.keras", 0.85),
        )
    ]
    (folder / "results.json").write_text(Results(models=tuple(models)).to_json())
    recipe = Recipe({"quantize.deploy": True, "data.dir": "/here"}, teacher="none", formats=())
    (folder / "recipe.json").write_text(recipe.to_json())
    return folder


def test_a_run_becomes_files_with_a_card_and_figures(run, data, tmp_path):
    networks, results = tmp_path / "networks", tmp_path / "results"
    networks.mkdir()
    integer_students.ship(run, data, networks, results)
    for suffix in (".tflite", ".packed"):
        shipped = pretrained_file(NAME).with_suffix(suffix)
        assert (networks / shipped.name).read_bytes() == shipped.read_bytes()
    place = results / "cifar10"
    assert Recipe.from_json((place / "recipe.json").read_text()).data.dir == ""
    assert (place / "history.csv").read_text().startswith("epoch,seconds")
    found = json.loads((place / integer_students.FIGURES_FILE).read_text())
    assert (found["start"], found["teacher"]) == ("resnet20_ternary_cifar10", "wrn20x1.5_cifar10")
    assert found["epochs"] == 2
    assert found["quantized_share"] == 269_824 / 272_474
    # Ten of forty labels are wrong.
    assert (found["accuracy"], found["trained_accuracy"]) == (0.75, 0.85)
    card = (networks / f"{NAME}.md").read_text("utf-8")
    assert "reaches **85.00 %** on the test images of cifar10" in card
    assert "this file has 75.00 %" in card and "began from 87.50 %" in card
    assert "272,474, 99.0 % of them ternary" in card
    assert "then 2 for integers on two CPU cores" in card
