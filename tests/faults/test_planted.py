"""What a machine refuses in the middle of a run: one message, nothing lost, and the run goes on later."""

import csv
import errno
import os
import resource

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.saved_models import load_model
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.run import run


def write_images(folder):
    """Grey images of two classes, eight to train on and two to test on."""
    generator = np.random.default_rng(0)
    for role, count in (("train", 8), ("test", 2)):
        for label, name in enumerate(("dark", "light")):
            path = folder / role / name
            path.mkdir(parents=True)
            for index in range(count):
                image = generator.integers(100 * label, 100 * label + 100, (4, 4, 1), np.uint8)
                (path / f"{index}.png").write_bytes(tf.io.encode_png(image).numpy())


def refuse(number):
    def strike():
        raise OSError(number, os.strerror(number), "products")

    return strike


def limit_the_size_of_files():
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))


FAULTS = [
    (refuse(errno.ENOSPC), r"No space left on device.*Free some space"),
    (refuse(errno.EROFS), r"Read-only file system.*Make it writable"),
    (limit_the_size_of_files, r"File too large.*Raise the limit"),
    (lambda: np.empty(2**60, np.uint8), r"must fit into memory.*Unable to allocate"),
    (lambda: tf.zeros([2**47], tf.uint8), r"must fit into memory.*OOM when allocating"),
]


class Strike(keras.callbacks.Callback):
    """Lets something happen at the beginning of an epoch."""

    def __init__(self, epoch, strike):
        super().__init__()
        self._at, self._strike = epoch, strike

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._at:
            self._strike()


def outcome(directory):
    (product,) = directory.glob("products/quantized-*[0-9a-f]")
    with (product / "history.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    return rows, [weight.tolist() for weight in load_model(product / "model.keras").get_weights()]


@pytest.mark.slow
def test_a_run_goes_on_once_the_cause_is_gone(tmp_path, capsys):
    write_images(tmp_path / "data")
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    keras.Sequential(layers).save(tmp_path / "student.keras")
    recipe = Recipe(
        {
            "quantized.training.epochs": len(FAULTS) + 2,
            "quantized.training.learning_rate": 1e-5,
            "training.batch_size": 8,
            "data.crop_padding": 1,
        },
        dataset=f"folder:{tmp_path / 'data'}",
        student=str(tmp_path / "student.keras"),
        teacher="none",
        bits=32,
        formats=(),
    )
    run(recipe, tmp_path / "at_once")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for epoch, (strike, said) in enumerate(FAULTS, start=1):
        capsys.readouterr()
        try:
            with pytest.raises(RuntimeError, match=f"{said}.*the same command goes on"):
                run(recipe, tmp_path / "run", callbacks=[Strike(epoch, strike)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        kept = f"goes on after epoch {epoch - 1}." in capsys.readouterr().out
        assert kept == (epoch > 1)
    (tmp_path / "data").rename(tmp_path / "away")
    with pytest.raises(ValueError, match="must name a folder"):
        run(recipe, tmp_path / "run")
    (tmp_path / "away").rename(tmp_path / "data")
    run(recipe, tmp_path / "run")
    assert f"goes on after epoch {len(FAULTS)}." in capsys.readouterr().out
    assert outcome(tmp_path / "run") == outcome(tmp_path / "at_once")


def test_the_last_good_checkpoint_outlives_a_full_disk_and_a_loss_that_is_not_finite(
    tmp_path, capsys
):
    write_images(tmp_path / "data")
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2, name="logits")]
    keras.Sequential(layers).save(tmp_path / "student.keras")
    recipe = Recipe(
        {
            "quantized.training.epochs": 3,
            "quantized.training.learning_rate": 1e-5,
            "training.batch_size": 8,
            "data.crop_padding": 0,
            "run.checkpoint_every": "1",
        },
        dataset=f"folder:{tmp_path / 'data'}",
        student=str(tmp_path / "student.keras"),
        teacher="none",
        bits=32,
        formats=(),
    )

    class Spoil(Strike):
        def on_train_batch_begin(self, batch, logs=None):
            if (self._epoch, batch) == (1, 1):
                self.model.get_layer("logits").bias.assign([np.nan, 0.0])

        def on_epoch_begin(self, epoch, logs=None):
            self._epoch = epoch

    full, message = FAULTS[0]
    with pytest.raises(RuntimeError, match=f"{message}.*the same command goes on"):
        run(recipe, tmp_path / "run", callbacks=[Strike(1, full)])
    with pytest.raises(ValueError) as error:
        run(recipe, tmp_path / "run", callbacks=[Spoil(1, None)])
    assert "goes on after epoch 1." in capsys.readouterr().out
    said = str(error.value)
    assert "Received: loss nan in step 2 of epoch 2 of the float student" in said
    (partial,) = (tmp_path / "run" / "products").glob("quantized-*.partial")
    kept = sorted(path.name for path in (partial / "checkpoints").iterdir())
    assert kept[-1] == "epoch000001-step000000001"
    assert not (tmp_path / "run" / "results.json").exists()
    # What is kept is good: without the cause the run goes on from it.
    results = run(recipe, tmp_path / "run")
    assert "goes on after epoch 1 and 1 steps." in capsys.readouterr().out
    assert np.isfinite(results.models[-1].loss)
