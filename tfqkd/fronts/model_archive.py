"""Model files as archives, before any Keras makes objects of them: who wrote them, and what they name."""

import json
import pathlib
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py

WEIGHTS = "model.weights.h5"
"""The entry of a `.keras` file, a zip archive, with the weights."""


def keras_version(path: pathlib.Path) -> str:
    """Returns which Keras has saved a `.keras` or `.h5` file, "3.15.1" say; nothing if none has."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = json.loads(archive.read("metadata.json"))["keras_version"]
        else:
            with h5py.File(path) as file:
                # Files of weights alone name none.
                found = file.attrs.get("keras_version", "2")
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile):
        return ""
    return str(found) if re.match(r"\d+\.|2$", str(found)) else ""


def is_of_keras3(path: pathlib.Path) -> bool:
    """Whether Keras 3 has saved a file."""
    version = keras_version(path)
    return bool(version) and int(version.partition(".")[0]) > 2


def require_own_data(file: h5py.File) -> None:
    """Raises ValueError if an HDF5 file refers to data in another file."""

    # What the visitor returns ends the visit.
    def elsewhere(name: str, link: object) -> str | None:
        item = file[name] if isinstance(link, h5py.HardLink) else None
        outside = isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)
        return name if outside or isinstance(link, h5py.ExternalLink) else None

    name = file.visititems_links(elsewhere)
    if name is not None:
        raise ValueError(f"its {name} is in another file")


def entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yields every object in a config, outer ones first."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    for value in config if isinstance(config, list) else []:
        yield from entries(value)
