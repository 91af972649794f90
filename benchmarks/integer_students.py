"""Puts the files of integers that runs of configs/integers_cifar.flags have made beside the other networks.

    python -m benchmarks.integer_students --data_dir=DIR runs/integers_cifar10 runs/integers_cifar100

Each becomes `resnet20_w2a8_DATASET` in tfqkd/models/weights: the file for any interpreter, the packed one,
and a card; recipe, history and figures go to results/integers. The file is measured on the test images again.
"""

import argparse
import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from benchmarks.shipping import link, write_card
from tfqkd.data import load
from tfqkd.data.images import ImageData
from tfqkd.export.formats import FORMATS
from tfqkd.models.pretrained import DIRECTORY
from tfqkd.recipe.recipe import Recipe
from tfqkd.reporting.measurement import run_file
from tfqkd.runtime.evaluation import evaluate_logits
from tfqkd.storage import write_atomically
from tfqkd.training.directory import RECIPE_FILE, read_recipe
from tfqkd.training.history import read_history
from tfqkd.training.products import HISTORY_FILE
from tfqkd.training.results import Results
from tfqkd.training.run import EXPORT_DIRECTORY

RESULTS = pathlib.Path("results/integers")
FIGURES_FILE = "figures.json"
_WHOLE, _PACKED = (FORMATS[name].file_name for name in ("litert-w2a8", "litert-w2a8-packed"))


def figures(run: pathlib.Path, data: ImageData) -> dict[str, Any]:
    """Returns what is known of a finished run's file, measured on the test images of its data set."""
    teacher, start, student = Results.read(run).models
    found = evaluate_logits(
        run_file(run / EXPORT_DIRECTORY / _WHOLE, data.test.images), data.test.labels
    )
    reports = json.loads((run / EXPORT_DIRECTORY / "reports.json").read_text(encoding="utf-8"))
    kernels = reports[0]["quantized"]
    ternary = sum(kernel["weights"] for kernel in kernels if kernel["max_code"] == 1)
    history = read_history((run / student.model).with_name(HISTORY_FILE))
    return {
        "teacher": pathlib.Path(teacher.model).stem,
        "start": pathlib.Path(start.model).stem,
        "start_accuracy": start.accuracy,
        "trained_accuracy": student.accuracy,
        "epochs": len(history),
        "parameters": student.parameters,
        "quantized_share": ternary / student.parameters,
        "accuracy": found.accuracy,
        "top5": found.top5,
        "loss": found.loss,
        "calibration_error": found.calibration_error,
    }


def ship(
    run: pathlib.Path, data: ImageData, directory: pathlib.Path, results: pathlib.Path
) -> None:
    """Copies a run's files, and writes their card and what they have.

    Args:
        run: The directory of the finished run.
        data: Its data set.
        directory: Of the networks.
        results: Where recipe, history and figures go.
    """
    found, recipe = figures(run, data), read_recipe(run).changed(data_dir="")
    student = Results.read(run).student
    to = directory / f"{student.name}_w2a8_{data.name}.tflite"
    shutil.copy(run / EXPORT_DIRECTORY / _WHOLE, to)
    shutil.copy(run / EXPORT_DIRECTORY / _PACKED, to.with_suffix(".packed"))
    place = results / data.name
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy((run / student.model).with_name(HISTORY_FILE), place)
    write_atomically(place / RECIPE_FILE, recipe.to_json())
    write_atomically(place / FIGURES_FILE, json.dumps(found, indent=2) + "\n")
    write_card(to, data.name, **_said(found, recipe, data, to))


def _said(
    found: dict[str, Any], recipe: Recipe, data: ImageData, to: pathlib.Path
) -> dict[str, Any]:
    start, teacher = (link(to.with_name(f"{found[key]}.keras")) for key in ("start", "teacher"))
    packed = to.with_suffix(".packed")
    return {
        "what": f"A {to.stem.partition('_')[0]} of integers alone: ternary weights, those of the first and "
        f"the last layer of 8 bits, and activations of 8 bits. It is {start} trained on, taught by "
        f"{teacher}.",
        "kind": f"LiteRT, int8, for any interpreter; for the download `{packed.name}`, "
        f"{packed.stat().st_size:,} bytes, which becomes the same file, byte for byte",
        "ternary": f", {100 * found['quantized_share']:.1f} % of them ternary",
        "budget": f"the epochs of {start}, then {found['epochs']} for integers on two CPU cores",
        "accuracy": 100 * found["trained_accuracy"],
        "measured": ", measured once, after the last epoch, by its Keras model; this file has "
        f"{100 * found['accuracy']:.2f} % (top-5 {100 * found['top5']:.2f} %), the student with float "
        f"activations that it began from {100 * found['start_accuracy']:.2f} %",
        "calibration": f"NLL {found['loss']:.3f}, expected calibration error "
        f"{100 * found['calibration_error']:.1f} % (15 bins), on the test images",
        "parameters": found["parameters"],
        "shape": ", ".join(map(str, data.image_shape)),
        "classes": data.classes,
        "data": f"all {len(data.train):,} training images of {data.name}, with random crops and flips",
        "recipe": _recipe(recipe, data.name),
        "limits": f"It is one seed and has no deviation; how {start} was chosen, its card says.\n"
        "- It has seen all training images: none of them can validate what trains on from "
        "here. No ARM device has run it.",
    }


def _recipe(recipe: Recipe, dataset: str) -> str:
    training, distil = recipe.quantized.training, recipe.distil
    file = f"{RESULTS.as_posix()}/{dataset}/{RECIPE_FILE}"
    shared = recipe.training
    return (
        f"rate {training.learning_rate:g} on a cosine, Nesterov momentum, batch {shared.batch_size}, "
        f"decoupled decay {shared.weight_decay:g}; λ = {distil.coefficient:g}, {distil.soft_weight:g}·T²·KL "
        f"of {distil.soft_loss} logits at T = {distil.temperature:g}; seed {recipe.run.seed}, "
        f"[`{file}`](../../../{file})"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Ships the runs that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.integer_students")
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    parser.add_argument("--data_dir", default="", help="where TFDS keeps their data sets")
    options = parser.parse_args(argv)
    for run in options.runs:
        data = load(read_recipe(run).data.dataset, data_dir=options.data_dir or None)
        ship(run, data, DIRECTORY, RESULTS)


if __name__ == "__main__":
    main()
