"""Files of the stripped Keras model."""

import json
import pathlib
import re
from typing import Any

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.canonical import settle_archive
from tfqkd.export.formats import FORMATS, Format
from tfqkd.export.report import Report
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel
from tfqkd.export.verification import ExportError
from tfqkd.export.writing import metadata, require_file, variables_read_back, write_verified
from tfqkd.runtime.signature import METADATA

_OF_KERAS = ("keras", "tf_keras", "builtins")
_RUNNER = str(pathlib.Path(__file__).with_name("keras_runner.py"))


def write_keras(source: Source, path: pathlib.Path, form: Format = FORMATS["keras"]) -> Report:
    """Writes the stripped model as a .keras file, which tf_keras loads without tfqkd.

    The kernels hold the quantized values as float32. The class names are in `metadata.json` of the archive,
    under `tfqkd`.

    Args:
        source: The model.
        path: The file to write. An earlier one there is replaced, if the new one is right.
        form: The format "keras".

    Raises:
        ExportError: If a layer is one of tfqkd's, as of quantized activations, or of the user's own code, or
            the file does not compute what the model computes; nothing is written then.
    """
    require_file(path, form)
    require_own_layers(source.model)

    def write(draft: pathlib.Path) -> list[StoredKernel]:
        source.model.save(draft)
        settle_archive(draft, {METADATA: json.loads(metadata(source, form))})
        return variables_read_back(source, _variables(draft))

    try:
        return write_verified(source, path, form, write=write, runners=[[_RUNNER]])
    except ExportError as error:
        # Code of a package that is installed loads anywhere: only what did not load is looked for.
        found = _first_foreign(source.model, certain=False)
        if found and re.match(r".* must (run in its runtime|load as it was written)", str(error)):
            raise _foreign(*found) from error
        raise


def require_own_layers(model: keras.Model) -> None:
    """Refuses a model that the format "keras" cannot hold.

    Raises:
        ExportError: If a layer is one of tfqkd's, or made of code that no other program can find: a class
            or function of the user's own script, a Lambda.
    """
    found = _first_foreign(model, certain=True)
    if found:
        raise _foreign(*found)


def _foreign(layer: str, what: str) -> ExportError:
    return ExportError(
        f"The format keras must load without tfqkd. Received: layer '{layer}', {what}. Nothing was "
        "written. Export to saved_model, whose graph holds what it computes."
    )


def _first_foreign(model: keras.Model, certain: bool) -> tuple[str, str] | None:
    """Returns the first layer with code that is not of Keras, and what that is.

    Args:
        model: The model.
        certain: Whether to pass over what a package may hold that is installed elsewhere too.
    """
    return _in_config(keras.saving.serialize_keras_object(model), model.name, certain)


def _in_config(entry: Any, layer: str, certain: bool) -> tuple[str, str] | None:
    if isinstance(entry, dict):
        config = entry.get("config")
        layer = config.get("name", layer) if isinstance(config, dict) else layer
        what = _what(entry, certain)
        if what:
            return layer, what
        entry = list(entry.values())
    parts = entry if isinstance(entry, (list, tuple)) else []
    return next(filter(None, (_in_config(part, layer, certain) for part in parts)), None)


def _what(entry: dict[str, Any], certain: bool) -> str:
    """What foreign code an entry of a config names; nothing if there is none."""
    name, module = str(entry.get("class_name")), entry.get("module", "keras")
    value = entry.get("value")
    # Keras keeps a lambda as its bytecode; as an activation, without a class.
    bare = isinstance(value, (list, tuple)) and _is_bytecode(*value)
    if name in ("Lambda", "__lambda__") or bare:
        return "which holds a Lambda"
    if module == "builtins" and name == "function":
        return f"with the function {str(entry.get('config')).rpartition('>')[2]} of your own"
    root = str(module).partition(".")[0]
    if root == "tfqkd":
        return f"a {name} of tfqkd"
    if module is None or (root not in _OF_KERAS and not certain):
        return f"with the class {name} of your own"
    return ""


def _is_bytecode(first: Any = None, second: Any = None, *_: Any) -> bool:
    """Whether a list is code with its defaults, not the place of a tensor: a name and a number."""
    return isinstance(first, str) and not isinstance(second, int)


def _variables(file: pathlib.Path) -> list[np.ndarray]:
    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as error:  # Whatever the layers' own code raises.
        raise ExportError(
            f"A .keras file must load as it was written. Received: {file.stat().st_size} bytes, and "
            f"{error}. Nothing was written. Make room on the disk, or export to saved_model."
        ) from error
    return [variable.numpy() for variable in model.variables]
