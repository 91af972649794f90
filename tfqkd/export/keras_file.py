"""Files of the stripped Keras model."""

import json
import pathlib
import zipfile

from tfqkd.export.formats import FORMATS, Format
from tfqkd.export.publication import Written, publish, require_file
from tfqkd.export.report import Report
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError
from tfqkd.runtime.signature import METADATA
from tfqkd.version import __version__

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
    ours = [layer for layer in source.model.layers if type(layer).__module__.startswith("tfqkd.")]
    if ours:
        raise ExportError(
            f"The format {form.name} must load without tfqkd. Received: layer '{ours[0].name}', a "
            f"{type(ours[0]).__name__} of tfqkd. Nothing was written. Export to saved_model."
        )

    def write(draft: pathlib.Path) -> Written:
        source.model.save(draft)
        metadata = {
            "producer": f"tfqkd {__version__}",
            "format": form.name,
            "input_range": [0, 255],
            "class_names": source.class_names,
        }
        with zipfile.ZipFile(draft, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(METADATA_ENTRY, json.dumps(metadata))
        return Written(quantized=(), float_layers=source.kernel_layers())

    return publish(source, path, form, write=write, runners=[[_RUNNER]])
