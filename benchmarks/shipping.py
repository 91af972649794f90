"""The networks that come with tfqkd: a ternary student, what it began from, its teacher; a card for each."""

import pathlib
import shutil
import zipfile
from typing import Any

from benchmarks.trained import Done
from tfqkd.compat import keras
from tfqkd.data.cifar import CLASS_NAMES
from tfqkd.export.formats import FORMATS
from tfqkd.training.run import EXPORT_DIRECTORY

_CARD = pathlib.Path(__file__).with_name("model_card.md")
_CIFAR = (
    "photographs of 80 Million Tiny Images (withdrawn by its makers in 2020), labelled by Krizhevsky, Nair "
    "and Hinton; published without a licence, to be cited as Krizhevsky, *Learning Multiple Layers of "
    "Features from Tiny Images* (2009)"
)


def ship(ternary: Done, student: Done, teacher: Done, directory: pathlib.Path) -> None:
    """Writes a ternary student's 2-bit file, the compressed ones of its float networks, and model cards.

    Args:
        ternary: Exported as "litert-int2".
        student: The float one that it began from.
        teacher: Of the same run.
        directory: Where the files go.
    """
    directory.mkdir(parents=True, exist_ok=True)
    recipe = ternary.recipe
    file = directory / f"{recipe.student.network}_ternary_{recipe.data.dataset}.tflite"
    begun = directory / f"{recipe.student.network}_{recipe.data.dataset}.keras"
    taught = directory / f"{recipe.teacher.network}_{recipe.data.dataset}.keras"
    shutil.copyfile(ternary.run / EXPORT_DIRECTORY / FORMATS["litert-int2"].file_name, file)
    compress(student.model, begun)
    compress(teacher.model, taught)
    _write_card(
        ternary,
        file,
        what=f"A {recipe.student.network} with ternary weights (-Δ, 0, Δ; first and last layer float), "
        f"taught by {link(taught)}.",
        kind="LiteRT, codes of 2 bits",
        ternary=f", {100 * ternary.figures.quantized_share:.1f} % of them ternary",
        budget=f"{recipe.training_of('student').epochs} epochs of {link(begun)}, "
        f"then {recipe.training_of('quantized').epochs} with ternary weights",
    )
    for one, path, what, epochs in (
        (student, begun, "student that {} began from", recipe.training_of("student").epochs),
        (teacher, taught, "teacher of {}", recipe.training_of("teacher").epochs),
    ):
        _write_card(
            one,
            path,
            what=f"The float {what.format(link(file))}.",
            kind="Keras (tf_keras), compressed",
            ternary="",
            budget=f"{epochs} epochs",
        )


def link(file: pathlib.Path) -> str:
    """Returns a link from one card to another network's."""
    return f"[{file.stem}]({file.stem}.md)"


def compress(source: pathlib.Path, path: pathlib.Path) -> None:
    """Copies a .keras file, a zip archive that Keras leaves uncompressed."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as compressed:
        for entry in archive.infolist():
            content = archive.read(entry)
            compressed.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)


def write_card(file: pathlib.Path, dataset: str, **said: Any) -> None:
    """Writes the model card beside a file.

    Args:
        file: The network.
        dataset: The data set that it was trained on.
        **said: What else `model_card.md` asks for.
    """
    origin = _CIFAR if dataset in CLASS_NAMES else "those of its publisher"
    said |= {"name": file.stem, "file": file.name, "size": file.stat().st_size, "origin": origin}
    card = _CARD.read_text(encoding="utf-8").format(dataset=dataset, **said)
    file.with_suffix(".md").write_text(card, encoding="utf-8")


def _write_card(
    one: Done, file: pathlib.Path, *, what: str, kind: str, ternary: str, budget: str
) -> None:
    recipe, figures = one.recipe, one.figures
    shape = keras.models.load_model(one.model, compile=False).input_shape[1:]
    trained = 100 * (1 - recipe.data.validation_split)
    path = f"configs/{recipe.data.dataset}_cpu.flags"
    write_card(
        file,
        recipe.data.dataset,
        what=what,
        kind=kind,
        ternary=ternary,
        budget=f"{budget}, on two CPU cores",
        accuracy=100 * figures.accuracy,
        measured=f" (top-5 {100 * figures.top5:.2f} %), measured once, after the last epoch",
        calibration=f"NLL {figures.loss:.3f} on the test images",
        parameters=figures.parameters,
        shape=", ".join(map(str, shape)),
        classes=len(one.class_names),
        data=f"{trained:.0f} % of the training images of {recipe.data.dataset} (TensorFlow Datasets), with "
        "random crops and flips; the others were held back to choose by",
        recipe=f"[`{path}`](../../../{path}), seed {one.seed}",
        limits="The budget is minutes of two CPU cores; the accuracies of papers take hundreds of epochs.\n"
        "- It is the first seed of [the table](../../../docs/reproduction.md), not the best. No GPU and no "
        "ARM device has run it.",
    )
