"""What is wrong with a model file that does not load, and what to do about it."""

import pathlib
import re

from tfqkd.fronts.model_archive import keras_version

_GRAPH = "saved_model.pb"
_EXPORTED = (".tflite", ".onnx")
_KEPT = "a run's results.json names its model.keras"
_LONGEST = 200
_OWN = re.compile(
    "(?:'class_name': 'function', 'config': '|of type `|Unknown layer: '|locate class '|it names )"
    r"(?!the )([\w.>]+)"
)
"""How Keras, and tfqkd before it, name a class or function that they do not know."""


def advice_on(path: pathlib.Path, error: BaseException) -> str:
    """Returns why a file does not load, and what to do: two sentences, without the last full stop.

    Args:
        path: What was to be loaded.
        error: What looking at it or loading it has raised.
    """
    return _of_its_kind(path) or _of_its_content(str(error))


def _of_its_kind(path: pathlib.Path) -> str:
    """What its name and first bytes tell; nothing if Keras has saved it."""
    if not path.exists():
        return "it does not exist. Check the path"
    if path.is_dir():
        return _of_a_folder(path)
    if path.suffix in _EXPORTED:
        return f"it is an exported file, without layers. Give the Keras model that it was made of: {_KEPT}"
    if path.name == _GRAPH:
        return "it is a part of a SavedModel. Give the folder that holds it"
    return _of_its_version(keras_version(path))


def _of_its_version(version: str) -> str:
    if not version:
        return "Keras has not saved it, or it is damaged. Save the model with model.save(...)"
    if int(version.partition(".")[0]) > 2:
        return (
            f"it was saved by Keras {version}. Build the model under tf_keras, which is Keras 2, give it the "
            "weights with set_weights(...), and save that"
        )
    return ""


def _of_a_folder(path: pathlib.Path) -> str:
    if not (path / _GRAPH).exists():
        return f"it is a folder, and no SavedModel. Give the one that holds {_GRAPH}, or a file"
    if not (path / "keras_metadata.pb").exists():
        return (
            "it is a SavedModel without Keras' layers (keras_metadata.pb), such as export writes. Save the "
            f"Keras model itself with model.save(...) under tf_keras; {_KEPT}"
        )
    return ""


def _of_its_content(said: str) -> str:
    if re.search(r"Quantized?(Wrapper|Layer)|tensorflow_model_optimization", said):
        return (
            "it is still wrapped for quantization. Save tfqkd.strip_quantization(model); a run keeps that as "
            "model.keras"
        )
    if "model_config" in said:
        return "it holds weights without a model. Load them into theirs, and save that with model.save(...)"
    if "without inputs" in said:
        return f"it is {said}. Build it as a Functional or Sequential model, and save it again"
    if "which is code" in said:
        return f"{said}. Take a layer or function of Keras for it, and save it again"
    own = _OWN.search(said)
    if own:
        name = own[1].rpartition(">")[2]
        return (
            f"it names {name}, which is not of Keras. If it is of your own code, register it with "
            "@keras.saving.register_keras_serializable(PACKAGE), save the model again, and call tfqkd.run "
            "from the program that registers it; or build the model of Keras' own layers"
        )
    first = said.strip().splitlines()[0] if said.strip() else "no reason is given"
    return f"{first[:_LONGEST]}. Save it again with model.save(...) under tf_keras"
