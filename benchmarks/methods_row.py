"""One training step under a method: `python -m benchmarks.methods_row ARM`. ResNet20, 32x32x3, random images.

The arms are those of configs/methods_cifar10.flags.
"""

import argparse
import atexit
import pathlib
import shutil
import tempfile
from collections.abc import Callable

from benchmarks.contestant import serve
from benchmarks.ours import BATCH, random_data
from benchmarks.turns import turns
from tfqkd.cli.flagfiles import expand
from tfqkd.compat import keras
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.strategy import RunStrategy, make_strategy
from tfqkd.progress import ProgressBar
from tfqkd.recipe.recipe import Recipe
from tfqkd.study.space import ARM, Space, parse_space
from tfqkd.training.execution import execution_of
from tfqkd.training.fitting import fit
from tfqkd.training.making import Maker
from tfqkd.training.presets import PAPER, student_stage
from tfqkd.training.products import Products

FLAGS = pathlib.Path(__file__).resolve().parents[1] / "configs" / "methods_cifar10.flags"
PLAIN, TAUGHT = "plain", "kd"
_SAME = {
    "student": "resnet20",
    "training.batch_size": BATCH,
    "quantized.training.epochs": 10_000,
    "quantized.training.learning_rate": 1e-4,
    "data.crop_padding": 0,
    "data.flip": False,
}


def arms() -> Space:
    """Returns the arms of the flag file."""
    words = [word.removeprefix("--") for word in expand([f"--flagfile={FLAGS}"])]
    return parse_space((), [word.removeprefix("arm=") for word in words if word.startswith("arm=")])


def recipe_of(arm: str) -> Recipe:
    """Returns what an arm trains here: its settings alone, on this benchmark's networks."""
    common = Recipe(
        {
            **_SAME,
            "teacher": "resnet20",
            "distil.soft_loss": "kl",
            "distil.soft_weight": "balanced:1",
            "coefficient": 0.5,
        }
    )
    return arms().apply(common, {ARM: arm})


def prepare(arm: str) -> Callable[[int], object]:
    """Starts a training as `bin/train` does it, that makes steps when it is told to."""
    recipe, strategy = recipe_of(arm), RunStrategy(make_strategy("auto", 1))
    stage = student_stage(PAPER(recipe))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tfqkd-benchmark-"))
    atexit.register(shutil.rmtree, directory)
    data, execution = random_data(), execution_of(recipe)
    maker = Maker(data, Products(directory), front, strategy, execution)

    def train(turn: keras.callbacks.Callback) -> None:
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = maker.quantized(maker.build(stage.network), stage)
            teachers = [maker.build(each.network) for each in stage.teachers]
            terms = maker.terms(stage, model, teachers)
            if stage.distillation or terms:
                model = front.taught(model, teachers, False, stage.distillation, terms)
            fit(
                front,
                model,
                directory,
                stage=stage,
                execution=execution,
                data=data,
                workers=strategy.workers,
                progress=ProgressBar,
                callbacks=[*front.quantization_callbacks(stage.quantized), turn],
            )

    return turns(keras, train).run


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("arm", choices=arms().axes[0].ends())
    given = parser.parse_args()
    serve(lambda: prepare(given.arm))
