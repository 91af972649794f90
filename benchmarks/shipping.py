"""The networks that come with tfqkd: a ternary student, what it began from, its teacher; a card for each."""

import pathlib
import shutil
import zipfile

from benchmarks.trained import Done
from tfqkd.compat import keras
from tfqkd.export.formats import FORMATS
from tfqkd.training.run import EXPORT_DIRECTORY

_CARD = pathlib.Path(__file__).with_name("model_card.md")


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
    file = directory / f"{recipe.student}_ternary_{recipe.dataset}.tflite"
    begun = directory / f"{recipe.student}_{recipe.dataset}.keras"
    taught = directory / f"{recipe.teacher}_{recipe.dataset}.keras"
    shutil.copyfile(ternary.run / EXPORT_DIRECTORY / FORMATS["litert-int2"].file_name, file)
    _compress(student.model, begun)
    _compress(teacher.model, taught)
    _write_card(
        ternary,
        file,
        what=f"A {recipe.student} with ternary weights (-Δ, 0, Δ; first and last layer float), "
        f"taught by {_link(taught)}.",
        kind="LiteRT, codes of 2 bits",
        ternary=f", {100 * ternary.figures['quantized_share']:.1f} % of them ternary",
        budget=f"{recipe.student_epochs} epochs of {_link(begun)}, "
        f"then {recipe.quantized_epochs} with ternary weights",
    )
    for one, path, what, epochs in (
        (student, begun, "student that {} began from", recipe.student_epochs),
        (teacher, taught, "teacher of {}", recipe.teacher_epochs),
    ):
        _write_card(
            one,
            path,
            what=f"The float {what.format(_link(file))}.",
            kind="Keras (tf_keras), compressed",
            ternary="",
            budget=f"{epochs} epochs",
        )


def _link(file: pathlib.Path) -> str:
    return f"[{file.stem}]({file.stem}.md)"


def _compress(source: pathlib.Path, path: pathlib.Path) -> None:
    """Copies a .keras file, a zip archive that Keras leaves uncompressed."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as compressed:
        for entry in archive.infolist():
            content = archive.read(entry)
            compressed.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)


def _write_card(
    one: Done, file: pathlib.Path, *, what: str, kind: str, ternary: str, budget: str
) -> None:
    recipe, figures = one.recipe, one.figures
    shape = keras.models.load_model(one.model, compile=False).input_shape[1:]
    card = _CARD.read_text(encoding="utf-8").format(
        name=file.stem,
        file=file.name,
        what=what,
        kind=kind,
        ternary=ternary,
        budget=budget,
        accuracy=100 * figures["accuracy"],
        top5=100 * figures["top5"],
        dataset=recipe.dataset,
        size=file.stat().st_size,
        parameters=figures["parameters"],
        shape=", ".join(map(str, shape)),
        classes=len(one.class_names),
        trained=100 * (1 - recipe.validation_split),
        recipe=f"configs/{recipe.dataset}_cpu.flags",
        seed=one.seed,
    )
    file.with_suffix(".md").write_text(card, encoding="utf-8")
