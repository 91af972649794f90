"""Runs of `bin/train` on Keras 3 that a GPU machine sent back become tfqkd's own files."""

import json
import shutil

import keras as keras3
import numpy as np
import pytest

from benchmarks.accelerated import network
from benchmarks.accelerated_pages import read, table
from benchmarks.accelerated_runs import keep, stages
from tfqkd.core import steps, uniform
from tfqkd.models import build

MEAN, STD = (125.3, 122.9, 113.8), (62.9, 62.0, 66.7)


def _model(seed: int, ternary: bool) -> keras3.Model:
    model = build("cnn2", (32, 32, 3), 10, mean=MEAN, std=STD, keras=keras3)
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        values = generator.uniform(0.5, 1, variable.shape).astype("float32")
        if ternary and "conv2/kernel" in variable.path:
            values = uniform.quantize(values - 0.75, steps.optimal_step(values - 0.75, 2), 2)
        variable.assign(values)
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that has a teacher, a taught student and a ternary one, and a run that is not done."""
    runs = tmp_path_factory.mktemp("back") / "cifar10"
    training = {"epochs": 7, "learning_rate": 0.1, "batch_size": 64, "weight_decay": 0.005}
    distillation = {"coefficient": {"start": 0.9, "end": 0.0}, "soft_loss": "standardized"}
    taught = {"training": training, "teachers": ["teacher-1"], "distillation": distillation}
    keys = {"teacher-1": {"training": training}, "student-2": taught}
    keys["quantized-3"] = {**taught, "start": "student-2"}
    models = []
    for number, (name, key) in enumerate(keys.items()):
        product = runs / "products" / name
        product.mkdir(parents=True)
        model = _model(number, name == "quantized-3")
        model.save(product / "model.keras")
        (product / "product.json").write_text(json.dumps(key))
        (product / "history.csv").write_text("epoch,loss\n1,2.0\n")
        (product / "quantization.txt").write_text("layers\n")
        (product / "quantization.json").write_text("[]")
        role = name.partition("-")[0]
        models.append({"role": role, "label": role, "name": "cnn2", "stage": name, "seed": 0})
        models[-1] |= {"accuracy": 0.5 + number / 10, "loss": 1.5, "quantized_share": number // 2}
    for run in ("annealed_standardized.0", "broken.0"):
        (runs / run).mkdir()
        (runs / run / "recipe.json").write_text("{}")
    done = runs / "annealed_standardized.0" / "results.json"
    given = {**models[0], "stage": "", "seed": None}
    done.write_text(json.dumps({"models": models}))
    (runs / "float_taught.0").mkdir()
    longer = runs / "products" / "quantized-4"
    shutil.copytree(runs / "products" / "quantized-3", longer)
    models = [given, {**models[2], "stage": "quantized-4", "quantized_share": 0, "accuracy": 0.8}]
    (runs / "float_taught.0" / "results.json").write_text(json.dumps({"models": models}))
    return runs


def test_what_came_back_is_kept_once_and_tells_what_each_network_is(runs, tmp_path):
    folder = tmp_path / "cifar10"
    keep(runs, folder, "A GPU")
    assert not (folder / "broken.0").exists()
    found = stages(folder)
    assert found.keys() == {"teacher", "taught.0", "annealed_standardized.0", "float_taught.0"}
    said = read(folder, "annealed_standardized.0")
    assert said == found["annealed_standardized.0"]
    assert said["stage"]["start"] == "taught.0"
    assert said["stage"]["teacher"] == "teacher"
    assert said["stage"]["coefficient"] == [0.9, 0.0]
    assert said["stage"]["ternary"]
    assert not found["taught.0"]["stage"]["ternary"]
    assert found["float_taught.0"]["stage"]["start"] == "taught.0"
    assert not found["float_taught.0"]["stage"]["ternary"]
    assert said["device"] == "A GPU"
    row = "| ternary, teacher, annealed coefficient | float student, taught |      7 |           70.00 |"
    assert row in table(folder)


def test_a_kept_network_is_that_of_keras_3_in_tf_keras(runs, tmp_path):
    folder = tmp_path / "cifar10"
    keep(runs, folder, "A GPU")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("float32")
    for number, stage in enumerate(("teacher", "taught.0", "annealed_standardized.0")):
        expected = np.asarray(_model(number, number == 2)(pixels))
        found = network(folder, stage, (32, 32, 3), 10)(pixels).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_stage_that_is_not_there_is_none(runs, tmp_path):
    keep(runs, tmp_path / "cifar10", "A GPU")
    with pytest.raises(KeyError):
        read(tmp_path / "cifar10", "ternary.0")
