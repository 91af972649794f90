"""Files of Keras 3 models: loaded where they hold data alone, and ready to run."""

import functools
import json
import pathlib
import zipfile
from typing import Any

import h5py
import keras

import tfqkd.fronts.keras3  # noqa: F401 (tells Keras its classes)
from tfqkd.fronts.front import Opened
from tfqkd.fronts.keras3.outputs import output_of
from tfqkd.fronts.model_archive import WEIGHTS, entries, keras_version, require_own_data
from tfqkd.process.messages import first_line

_MODULES = ("keras", "builtins", "tfqkd")
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
"""Layers whose configs hold code, or the path of another model."""


def load_model(path: pathlib.Path) -> keras.Model:
    """Loads a model that Keras 3 has saved, quantized or plain, for inference.

    Args:
        path: A `.keras` or `.h5` file.

    Raises:
        ValueError: If it does not load, names code outside Keras and tfqkd, or reads other files.
    """
    try:
        _require_data_only(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (MemoryError, PermissionError):
        raise
    except Exception as error:
        first = first_line(error)
        raise ValueError(
            f"A file of Keras {keras_version(path)} must load in Keras {keras.__version__} without custom "
            f"code. Received: {path}; Keras says: {first}. Call tfqkd.export from the program that made "
            "it, or build the model from Keras' own layers."
        ) from error


def open_model(path: pathlib.Path) -> Opened:
    """Opens a model that Keras 3 has saved, as a function from images to what it returns.

    Args:
        path: As for `load_model`.

    Raises:
        ValueError: As `load_model`; or if it takes or returns more than one tensor.
    """
    model = load_model(path)
    shapes = [tuple(each.shape) for each in (*(model.inputs or ()), *(model.outputs or ()))]
    if len(shapes) != 2:
        raise ValueError(
            f"A model must have one input, images, and one output, logits. Received: {path} with inputs "
            f"and outputs of the shapes {shapes}. Save a model that only classifies images."
        )
    return Opened(
        shapes[0][1:],
        lambda batch: model.predict(batch.astype("float32"), verbose=0),
        functools.partial(output_of, model),
    )


def _require_data_only(path: pathlib.Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            with archive.open(WEIGHTS) as weights, h5py.File(weights) as file:
                require_own_data(file)
    else:
        with h5py.File(path) as file:
            config = json.loads(file.attrs["model_config"])
            require_own_data(file)
    for entry in entries(config):
        _require_known(entry)


def _require_known(entry: dict[str, Any]) -> None:
    name, module = entry.get("class_name"), entry.get("module")
    if name in _CODE:
        raise ValueError(f"it holds a {name}, which is code")
    # What this program has registered is taken from it, and no module imported.
    registered = keras.saving.get_registered_object(entry.get("registered_name"))
    if isinstance(module, str) and module.split(".")[0] not in _MODULES and registered is None:
        raise ValueError(f"it names {module}.{name}, which is not of Keras")
