"""What lies in `results/accelerator` becomes tfqkd's own files."""

import json
import pathlib

import numpy as np
import pytest

from benchmarks.accelerated import MOMENTS, calibration_error, make, network
from benchmarks.accelerated_pages import ROWS, SHIPPED, cards, read, table
from benchmarks.accelerated_runs import stages
from tests.export.in_process import files_run_here
from tfqkd import runtime
from tfqkd.compat import keras
from tfqkd.core import steps, uniform
from tfqkd.data.images import ImageData, Split
from tfqkd.models import build, pretrained_file
from tfqkd.runtime.evaluation import evaluate_logits

ROOT = pathlib.Path(__file__).parents[2]
FULL_LENGTH = ROOT / "results/accelerator"


def test_the_calibration_error_is_the_mean_gap_of_hits_and_confidence():
    even = np.zeros((8, 2))  # Confidence 1/2, and class 0 is said.
    assert calibration_error(even, np.zeros(8, int)) == pytest.approx(0.5)
    assert calibration_error(even, np.array([0, 1] * 4)) == pytest.approx(0)
    sure = np.log(np.tile([0.9, 0.1], (10, 1)))
    # Two bins, whose gaps do not cancel out: 7 of 10 hits at 0.9, 8 of 8 at 0.5.
    logits, labels = np.concatenate([sure, even]), np.array([0] * 7 + [1] * 3 + [0] * 8)
    assert calibration_error(logits, labels) == pytest.approx((10 * 0.2 + 8 * 0.5) / 18)
    assert calibration_error(logits + 1000, labels) == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A ternary `cnn2` as it lies there, and the model that it stands for."""
    folder = tmp_path_factory.mktemp("accelerator") / "cifar10"
    folder.mkdir()
    mean, std = MOMENTS["cifar10"]
    model = build("cnn2", (32, 32, 3), 10, mean=mean, std=std)
    generator = np.random.default_rng(0)
    for variable in model.variables:
        values = generator.uniform(0.5, 1, variable.shape).astype("float32")
        if "kernel" in variable.name:
            values = generator.normal(size=variable.shape).astype("float32")
        if "conv2" in variable.name and "kernel" in variable.name:
            values = uniform.quantize(values, steps.optimal_step(values, 2), 2)
        variable.assign(values)
    kept = {variable.name.removesuffix(":0"): variable.numpy() for variable in model.variables}
    np.savez(folder / "ternary.0.npz", **kept)
    stage = {"name": "ternary.0", "network": "cnn2", "ternary": True, "teacher": "", "start": ""}
    stage |= {"epochs": 3, "rate": 0.1, "seed": 0, "coefficient": [0, 0], "soft": "kd"}
    said = {"stage": stage, "options": {"dataset": "cifar10", "batch": 64, "decay": 0.005}}
    said |= {"accuracy": 0.125, "loss": 2.25, "device": "GPU"}
    (folder / "ternary.0.json").write_text(json.dumps(said))
    return folder, model


def test_a_stage_becomes_a_keras_file_and_a_2_bit_file_of_its_codes_with_a_card(trained, tmp_path):
    folder, model = trained
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    split = Split(images, generator.integers(0, 10, 40))
    data = ImageData("cifar10", tuple("abcdefghij"), split, None, split)
    # Both files run in processes of their own in tests/export/test_outputs.py and test_exporter.py.
    with files_run_here():
        figures = make(folder, "ternary.0", data, tmp_path / "cnn2_ternary_cifar10")
    expected = model(images.astype("float32")).numpy()
    whole, small = (tmp_path / f"cnn2_ternary_cifar10.{end}" for end in ("keras", "tflite"))
    opened = keras.models.load_model(whole, compile=False), runtime.load(small)
    for one in opened:
        np.testing.assert_allclose(one(images), expected, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(opened[0].variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    found = evaluate_logits(expected, split.labels)
    assert figures["accuracy"] == found.accuracy
    assert figures["loss"] == pytest.approx(found.loss, rel=1e-5)
    (kernel,) = (v for v in model.variables if "conv2" in v.name and "kernel" in v.name)
    assert figures["quantized_share"] * figures["parameters"] == np.size(kernel)
    cards(folder, {"cnn2_ternary_cifar10": figures}, data, tmp_path)
    card = small.with_suffix(".md").read_text(encoding="utf-8")
    assert "A cnn2 with ternary weights" in card
    assert "reaches **12.50 %**" in card
    assert f"`cnn2_ternary_cifar10.keras`, {whole.stat().st_size:,} bytes" in card
    assert f"NLL {found.loss:.3f}" in card
    assert "3 epochs, minutes of a GPU (GPU)" in card


def test_every_variable_has_to_be_there(trained, tmp_path):
    folder, _ = trained
    with np.load(folder / "ternary.0.npz") as kept:
        np.savez(tmp_path / "ternary.0.npz", **{name: kept[name] for name in kept.files[1:]})
    (tmp_path / "ternary.0.json").write_text((folder / "ternary.0.json").read_text())
    with pytest.raises(KeyError):
        network(tmp_path, "ternary.0", (32, 32, 3), 10)


FIRST = {"teacher", "float.0", "taught.0", "ternary.0", "annealed_standardized.0"}


@pytest.mark.parametrize(("dataset", "rows"), [("cifar10", set(ROWS)), ("cifar100", FIRST)])
def test_the_table_of_full_length_has_what_was_measured(dataset, rows):
    folder = FULL_LENGTH / dataset
    text = table(folder)
    assert (folder / "table.md").read_text(encoding="utf-8") == text + "\n"
    assert text in (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) == 2 + len(rows)
    for stage in rows:
        (row,) = (line for line in text.splitlines() if line.split("|")[1].strip() == ROWS[stage])
        assert f" {100 * read(folder, stage)['accuracy']:.2f} " in row


def test_of_several_ternary_networks_the_best_comes_along_and_its_card_says_so():
    found = stages(FULL_LENGTH / "cifar10").items()
    taught = {
        name: one["accuracy"]
        for name, one in found
        if one["stage"]["ternary"] and one["stage"]["teacher"]
    }
    assert SHIPPED["cifar10"]["resnet20_ternary"] == max(taught, key=taught.get)
    for dataset, text in (
        ("cifar10", f"best on these test images of {len(taught)} ternary"),
        ("cifar100", "not the best of several"),
    ):
        card = pretrained_file(f"resnet20_ternary_{dataset}").with_suffix(".md")
        assert text in card.read_text(encoding="utf-8")
