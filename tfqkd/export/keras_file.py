"""Files of the stripped Keras model."""

import pathlib
import zipfile

import numpy as np

from tfqkd.compat import keras
from tfqkd.export.canonical import settle_archive
from tfqkd.export.formats import FORMATS, Format
from tfqkd.export.publication import Written, metadata, publish, require_file, variables_read_back
from tfqkd.export.report import Report
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError
from tfqkd.runtime.signature import METADATA

METADATA_ENTRY = f"{METADATA}.json"
"""The entry of the .keras file, a zip archive, with the class names; Keras leaves it alone."""
_RUNNER = str(pathlib.Path(__file__).with_name("keras_runner.py"))


def write_keras(source: Source, path: pathlib.Path, form: Format = FORMATS["keras"]) -> Report:
    """Writes the stripped model as a .keras file, which tf_keras loads without tfqkd.

    The kernels hold the quantized values as float32. The class names are in the archive's entry
    `tfqkd.json`.

    Args:
        source: The model.
        path: The file to write. An earlier one there is replaced, if the new one is right.
        form: The format "keras".

    Raises:
        ExportError: If a layer is one of tfqkd's, as of quantized activations, or the file does not
            compute what the model computes; nothing is written then.
    """
    require_file(path, form)
    require_own_layers(source.model)

    def write(part: Source, draft: pathlib.Path) -> Written:
        part.model.save(draft)
        with zipfile.ZipFile(draft, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(METADATA_ENTRY, metadata(part, form))
        settle_archive(draft)
        return variables_read_back(part, _variables(draft))

    return publish(source, path, form, write=write, runners=[[_RUNNER]])


def require_own_layers(model: keras.Model) -> None:
    """Refuses a model that the format "keras" cannot hold.

    Raises:
        ExportError: If a layer is one of tfqkd's.
    """
    ours = [layer for layer in model.layers if type(layer).__module__.startswith("tfqkd.")]
    if ours:
        raise ExportError(
            f"The format keras must load without tfqkd. Received: layer '{ours[0].name}', a "
            f"{type(ours[0]).__name__} of tfqkd. Nothing was written. Export to saved_model."
        )


def _variables(file: pathlib.Path) -> list[np.ndarray]:
    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as error:  # Whatever the layers' own code raises.
        raise ExportError(
            f"A .keras file must load as it was written. Received: {file.stat().st_size} bytes, and "
            f"{error}. Nothing was written. Register the model's own layers with "
            "keras.saving.register_keras_serializable, make room on the disk, or export to "
            "saved_model."
        ) from error
    return [variable.numpy() for variable in model.variables]
