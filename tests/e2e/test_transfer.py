"""A MobileNetV2 from a float start to every file, and a start from weights that somebody else has trained."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfqkd.compat import keras
from tfqkd.export.formats import FORMATS

from .test_workers import ROOT

pytestmark = pytest.mark.slow

CLASSES = 4
INTEGER = [name for name, form in FORMATS.items() if form.is_integer]
FLOAT = [name for name in FORMATS if name not in INTEGER]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Noise whose colour is its class, of 96x96 pixels."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    colours = generator.integers(40, 216, (CLASSES, 3))
    for role, count in (("train", 256), ("test", 200)):
        for number in range(count):
            path = root / role / str(number % CLASSES) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.normal(0, 30, (96, 96, 3)) + colours[number % CLASSES]
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return root


def train(*flags, **environment):
    child = subprocess.run(
        [sys.executable, "-m", "tfqkd.cli.train", "--teacher=none", *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]


@pytest.fixture(scope="module")
def flags(pictures):
    return [
        f"--dataset=folder:{pictures}",
        "--student=mobilenetv2_0.35",
        "--training.batch_size=32",
        "--training.epochs=3",
        "--training.learning_rate=0.02",
        "--quantized.training.epochs=3",
        f"--products={pictures}/../products",
    ]


@pytest.mark.parametrize("formats", [FLOAT, INTEGER], ids=["float", "integer"])
def test_a_ternary_mobilenetv2_has_every_file_right(formats, flags, tmp_path):
    """Right: as accurate as the network, where it is exact, and within two points where it rounds."""
    if "tflm" in formats:
        pytest.importorskip("tflite_micro")
    deploy = ["--quantize.deploy"] if formats is INTEGER else []
    train(*flags, *deploy, f"--formats={','.join(formats)}", f"--run_dir={tmp_path}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert [report["format"] for report in results["export"]] == formats
    accuracy = results["models"][-1]["accuracy"]
    assert accuracy > 0.5
    for report in results["export"]:
        form = FORMATS[report["format"]]
        allowed = 0.005 if form.tolerance <= 1e-4 else 0.02
        assert report["accuracy"] == pytest.approx(accuracy, abs=allowed), form.name
        assert (tmp_path / "export" / form.file_name).exists()


@pytest.mark.parametrize("version", [2, 3])
def test_a_student_begins_from_the_weights_of_a_file(version, pictures, tmp_path):
    base = keras.applications.MobileNet(
        input_shape=(96, 96, 3), include_top=False, weights=None, pooling="avg"
    )
    base.save_weights(tmp_path / "mobilenet_no_top.h5")
    train(
        f"--dataset=folder:{pictures}",
        "--student=applications:MobileNet",
        f"--student.weights={tmp_path / 'mobilenet_no_top.h5'}",
        "--student.training.epochs=0",
        "--quantized.training.epochs=0",
        # Else the statistics are measured on these pictures.
        "--training.batch_norm=moving",
        "--formats=",
        f"--run.keras={version}",
        f"--run_dir={tmp_path / 'run'}",
        KERAS_BACKEND="tensorflow",
    )
    (saved,) = (tmp_path / "run" / "products").glob("student-*/model.keras")
    student = _load(saved, version)
    for layer in base.layers:
        if layer.weights:
            for one, other in zip(
                layer.get_weights(), student.get_layer(layer.name).get_weights(), strict=True
            ):
                np.testing.assert_array_equal(one, other)


def _load(path, version):
    if version == 2:
        return keras.models.load_model(path, compile=False)
    import keras as keras3

    return keras3.models.load_model(path, compile=False)
