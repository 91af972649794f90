"""Saved models and exported SavedModels, ready to run."""

import functools
import json
import pathlib
import zipfile

import numpy as np

from tfqkd.compat import tf
from tfqkd.fronts.front import Opened
from tfqkd.fronts.tfmot.model_files import require_pure_graph
from tfqkd.fronts.tfmot.outputs import output_of
from tfqkd.fronts.tfmot.saved_models import load_model
from tfqkd.runtime.outputs import LOGITS
from tfqkd.runtime.signature import INPUT, KERAS_METADATA, METADATA, METADATA_FILE, SIGNATURE


def open_model(path: pathlib.Path) -> Opened:
    """Opens a saved Keras model, or an exported SavedModel, which holds a graph alone."""
    if (path / "saved_model.pb").exists() and not (path / "keras_metadata.pb").exists():
        return _open_saved_model(path)
    model = load_model(path)
    if len(model.inputs) > 1 or len(model.outputs) > 1:
        raise ValueError(
            f"A model must have one input, images, and one output, logits. Received: {path} with "
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs. Save a model that only "
            "classifies images."
        )
    return Opened(
        model.input_shape[1:],
        lambda batch: model(tf.cast(batch, tf.float32), training=False).numpy(),
        _stored_output(path) or functools.partial(output_of, model),
    )


def _stored_output(path: pathlib.Path) -> str | None:
    """What a `.keras` file of ours says that it returns."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(KERAS_METADATA)).get(METADATA, {}).get("output")


def _open_saved_model(path: pathlib.Path) -> Opened:
    try:
        require_pure_graph(path)
    except ValueError as error:
        raise ValueError(
            f"An exported file must compute logits and do nothing else. Received: {path}: {error}. "
            "Remove it, and export the run again with bin/export."
        ) from error
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get(SIGNATURE)
    inputs = signature.structured_input_signature[1] if signature else {}
    if set(inputs) != {INPUT}:
        raise ValueError(
            "A SavedModel must be one of Keras, with its layers, or one that tfqkd exported. "
            f"Received: {path}, which takes {', '.join(sorted(inputs)) or 'nothing'}. Save the Keras model "
            "with model.save(...), or export it with tfqkd.export.to_saved_model."
        )
    said = path / METADATA_FILE

    def serve(batch: np.ndarray) -> np.ndarray:
        # Reached through `loaded`, which must live as long as its function.
        returned = loaded.signatures["serving_default"](images=tf.constant(batch, tf.float32))
        (outputs,) = returned.values()
        return outputs.numpy()

    output = json.loads(said.read_text("utf-8"))["output"] if said.exists() else LOGITS
    return Opened(tuple(inputs[INPUT].shape[1:]), serve, output)
