"""The ImageNet recipes on generated photographs: streamed, killed, gone on with, and across two workers."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfqkd.fronts.tfmot.saved_models import load_model

from .test_workers import ROOT, start_workers, wait_for_another_checkpoint

pytestmark = pytest.mark.slow

CLASSES, IMAGES = 4, 400
# A tenth of the network on small pictures, and of 90 epochs two: 300 steps and more in three stages.
SMALL = [
    "--data.image_size=32",
    "--data.stream=on",
    "--training.batch_size=8",
    "--training.epochs=2",
    "--training.warmup_epochs=1",
    "--quantized.training.epochs=2",
    "--quantized.training.learning_rate=0.01",
    "--run.mixed_precision=float32",
    "--run.deterministic",
    "--run.checkpoint_every=20",
    "--formats=litert-int2",
]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """Pictures of many sizes whose class is their colour."""
    root = tmp_path_factory.mktemp("imagenet")
    generator = np.random.default_rng(0)
    colours = generator.integers(40, 216, (CLASSES, 3))
    for role, count in (("train", IMAGES), ("test", 40)):
        for number in range(count):
            label = number % CLASSES
            path = root / role / f"n{label:08}" / f"{number}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = generator.normal(0, 40, (12, 16, 3)) + colours[label]
            image = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
            size = tuple(generator.integers(90, 200, 2).tolist())
            image.resize(size, Image.Resampling.BICUBIC).save(path, quality=85)
    return root


def flags(config, imagenet, directory, *others):
    return [
        f"--flagfile={ROOT}/configs/imagenet_{config}.flags",
        f"--dataset=folder:{imagenet}",
        f"--run_dir={directory}",
        *SMALL,
        *others,
    ]


def start(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tfqkd.cli.train", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def weights(directory):
    (path,) = pathlib.Path(directory).glob("products/quantized-*/model.keras")
    return load_model(path).get_weights()


NETWORKS = {
    "resnet18": ["--student=resnet18_0.125", "--teacher=resnet34_0.125"],
    "mobilenetv2": ["--student=mobilenetv2_0.1", "--teacher=mobilenetv2_0.2"],
}


@pytest.mark.parametrize("config", NETWORKS)
def test_a_recipe_is_killed_and_goes_on_to_the_bit(config, imagenet, tmp_path):
    at_once = start(flags(config, imagenet, tmp_path / "at_once", *NETWORKS[config]))
    out, _ = at_once.communicate(timeout=1200)
    assert at_once.returncode == 0, out[-3000:]
    arguments = flags(config, imagenet, tmp_path / "in_parts", *NETWORKS[config])
    for _ in range(2):
        child = start(arguments)
        wait_for_another_checkpoint(tmp_path / "in_parts", child)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    last = start(arguments)
    out, _ = last.communicate(timeout=1200)
    assert last.returncode == 0 and "goes on after" in out, out[-3000:]
    for one, other in zip(
        weights(tmp_path / "at_once"), weights(tmp_path / "in_parts"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert (tmp_path / "in_parts" / "export" / "student-int2.tflite").exists()


def test_a_recipe_trains_on_two_workers(imagenet, tmp_path):
    """To its end; that two train what one trains is tried in test_workers.py, over fewer steps."""
    others = [*NETWORKS["resnet18"], "--run.synchronized_batch_norm", "--training.epochs=1"]
    others += ["--quantized.training.epochs=1", "--formats="]
    arguments = flags("resnet18", imagenet, tmp_path / "two", *others)
    children = start_workers(["-m", "tfqkd.cli.train", "--run.strategy=multi_worker", *arguments])
    for child in children:
        out, _ = child.communicate(timeout=1200)
        assert child.returncode == 0, out[-3000:]
    assert (tmp_path / "two" / "results.json").exists()
    assert all(np.isfinite(each).all() for each in weights(tmp_path / "two"))
