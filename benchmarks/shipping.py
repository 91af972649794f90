"""The networks that come with tfqkd, compressed, and a card for each."""

import pathlib
import zipfile
from typing import Any

from tfqkd.data.cifar import CLASS_NAMES

_CARD = pathlib.Path(__file__).with_name("model_card.md")
_CIFAR = (
    "photographs of 80 Million Tiny Images (withdrawn by its makers in 2020), labelled by Krizhevsky, Nair "
    "and Hinton; published without a licence, to be cited as Krizhevsky, *Learning Multiple Layers of "
    "Features from Tiny Images* (2009)"
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
