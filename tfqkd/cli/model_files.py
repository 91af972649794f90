"""Models that flags name: files, SavedModels, and folders of files."""

import importlib.util
import pathlib

from tfqkd.cli.command import UsageError
from tfqkd.runtime.loading import RUNTIME_SUFFIXES, kind_of

OF_KERAS = (".keras", ".h5")


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the models that a path names: itself, or the files of models and exports in a folder.

    Args:
        path: A file, a SavedModel, a .tflm folder, or another folder, which stands for itself where there is
            no such file in it.
    """
    if not path.is_dir() or kind_of(path) or path.suffix in RUNTIME_SUFFIXES:
        return [path]
    known = (*OF_KERAS, *RUNTIME_SUFFIXES)
    return sorted(file for file in path.iterdir() if file.suffix in known) or [path]


def keras_model_of(path: pathlib.Path) -> pathlib.Path:
    """Returns the one Keras model that a path names.

    Args:
        path: A file, a SavedModel of tf_keras, or a folder with one such file.

    Raises:
        UsageError: If there is none, or several.
    """
    rule = "`model` must name one Keras model: a .keras or .h5 file, or the folder that holds it. "
    if not path.exists():
        raise UsageError(f"{rule}Received: model={str(path)!r}, which does not exist.")
    if kind_of(path):
        return path
    found = [file for file in files_of(path) if file.suffix in OF_KERAS]
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "none in it"
        raise UsageError(f"{rule}Received: model={str(path)!r}, with {listed}. Name a file.")
    return found[0]


def described(path: pathlib.Path) -> str:
    """What a model is: "a Keras model that Keras 3.15.1 has saved"; nothing if it is none."""
    kind, version = kind_of(path), ""
    # Where files are run alone, what reads those of Keras may not be installed.
    if path.is_file() and importlib.util.find_spec("h5py"):
        from tfqkd.fronts.model_archive import keras_version

        version = keras_version(path)
    known = version and version != "2"  # What old files of tf_keras say.
    return kind and f"a {kind}" + (f" that Keras {version} has saved" if known else "")
