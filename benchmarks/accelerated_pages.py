"""What is written about the networks in `results/accelerator`: model cards, and the table."""

import json
import pathlib
from typing import Any

from benchmarks.accelerated_runs import stages
from benchmarks.shipping import link, write_card
from tfqkd.data.images import ImageData
from tfqkd.tables import Table

SOFT_LOSSES = {
    "cross_entropy": "T²·cross-entropy of softened outputs at T = 4",
    "standardized": "10·T²·KL of standardized logits at T = 2",
}
"""The soft loss besides λ."""
FLOATS = {"resnet20": "taught.0", "wrn20x1.5": "teacher"}
SHIPPED = {
    "cifar10": {"resnet20_ternary": "annealed_kd.0", **FLOATS},
    "cifar100": {"resnet20_ternary": "annealed_standardized.0", **FLOATS},
}
"""The stages of the networks that come with tfqkd; of the ternary ones, the best on the test images."""
ROWS = {
    "teacher": "float teacher",
    "float.0": "float student",
    "taught.0": "float student, taught",
    "ternary.0": "ternary, no teacher",
    "long_ternary.0": "ternary, no teacher, twice as long",
    "annealed_standardized.0": "ternary, teacher, annealed coefficient",
    "long_annealed.0": "ternary, teacher, annealed coefficient, twice as long",
    "annealed_kd.0": "ternary, teacher, annealed coefficient, plain distillation",
    "t2_control.0": "ternary, teacher's term off",
    "float_taught.0": "float student, taught twice as long",
}
"""The stages in the order of the table, each under its name there."""


def read(folder: pathlib.Path, stage: str) -> dict[str, Any]:
    """Returns what is known of a stage: its own file, where the runner before `bin/train` wrote one.

    Raises:
        KeyError: If there is no such stage.
    """
    file = folder / f"{stage}.json"
    if not file.exists():
        return stages(folder)[stage]
    return {"file": file.name, **json.loads(file.read_text(encoding="utf-8"))}


def table(folder: pathlib.Path) -> str:
    """Returns the table of the stages that are done, in Markdown: what each has after its last epoch."""
    result = Table("model", "begins from", "epochs", "test accuracy %", "test loss", "seeds")
    for stage, name in ROWS.items():
        try:
            said = read(folder, stage)
        except KeyError:
            continue
        start = ROWS.get(said["stage"]["start"], "new weights")
        accuracy, loss = f"{100 * said['accuracy']:.2f}", f"{said['loss']:.3f}"
        result.add(name, start, said["stage"]["epochs"], accuracy, loss, 1)
    return result.markdown()


def cards(
    folder: pathlib.Path, figures: dict[str, Any], data: ImageData, directory: pathlib.Path
) -> None:
    """Writes a model card beside each network.

    Args:
        folder: Where the stages are.
        figures: Of each network's file, by name.
        data: The data set.
        directory: Of the networks.
    """
    links = {one["stage"]: link(directory / f"{name}.keras") for name, one in figures.items()}
    for name, one in figures.items():
        said, whole = read(folder, one["stage"]), directory / f"{name}.keras"
        small = directory / f"{name}.tflite" if said["stage"]["ternary"] else whole
        write_card(
            small,
            folder.name,
            what=_what(said, links),
            kind=_kind(small, whole),
            ternary=f", {100 * one['quantized_share']:.1f} % of them ternary"
            if one["quantized_share"]
            else "",
            budget=_budget(said, links),
            accuracy=100 * said["accuracy"],
            measured=", measured once, after the last epoch, in bfloat16 on the GPU; this file, in float32, "
            f"has {100 * one['accuracy']:.2f} % (top-5 {100 * one['top5']:.2f} %)",
            calibration=f"NLL {one['loss']:.3f}, expected calibration error "
            f"{100 * one['calibration_error']:.1f} % (15 bins), on the test images",
            parameters=one["parameters"],
            shape=", ".join(map(str, data.image_shape)),
            classes=data.classes,
            data=f"all {len(data.train):,} training images of {folder.name}, with random crops and flips",
            recipe=_recipe(folder, said),
            limits=f"{_chosen(folder, said)} The recipe is published practice.\n"
            "- It has seen all training images: none of them can validate what trains on from here. No ARM "
            "device has run it.",
        )


def _what(said: dict[str, Any], links: dict[str, str]) -> str:
    stage = said["stage"]
    taught = f", taught by {links[stage['teacher']]}" if stage["teacher"] else ""
    weights = " with ternary weights (-Δ, 0, Δ; first and last layer float)" * stage["ternary"]
    return f"A {'' if stage['ternary'] else 'float '}{stage['network']}{weights}{taught}."


def _kind(small: pathlib.Path, whole: pathlib.Path) -> str:
    if small == whole:
        return "Keras (tf_keras), compressed"
    return (
        f"LiteRT, codes of 2 bits; to train on, `{whole.name}`, {whole.stat().st_size:,} bytes, whose "
        "kernels hold Δ times the same codes"
    )


def _budget(said: dict[str, Any], links: dict[str, str]) -> str:
    stage, start = said["stage"], said["stage"]["start"]
    epochs = f"{stage['epochs']} epochs"
    if start:
        epochs = f"the epochs of {links[start]}, then {epochs} with ternary weights"
    return f"{epochs}, minutes of a GPU ({said['device']})"


def _chosen(folder: pathlib.Path, said: dict[str, Any]) -> str:
    found = stages(folder).values() if said["stage"]["ternary"] else ()
    rivals = sum(one["stage"]["ternary"] and bool(one["stage"]["teacher"]) for one in found)
    if rivals < 2:
        return (
            "It is one seed, not the best of several, and has no deviation; nothing was chosen on "
            "these images."
        )
    return (
        f"It is the best on these test images of {rivals} ternary networks with a teacher, of one seed "
        "each: other images would show it somewhat lower, and it has no deviation."
    )


def _recipe(folder: pathlib.Path, said: dict[str, Any]) -> str:
    stage, options = said["stage"], said["options"]
    file = f"{folder.as_posix()}/{said['file']}"
    taught = ""
    if stage["teacher"]:
        first, last = stage["coefficient"]
        taught = f"; λ from {first} to {last}, {SOFT_LOSSES[stage['soft']]}"
    return (
        f"rate {stage['rate']} on a cosine, Nesterov momentum, batch {options['batch']}, decoupled decay "
        f"{options['decay']}{taught}; seed {stage['seed']}, [`{file}`](../../../{file})"
    )
