"""Saved models as teachers and students: loaded, and refused where they cannot be used."""

import pathlib

from tfqkd.compat import keras, tf
from tfqkd.data.images import ImageData
from tfqkd.fronts.tfmot.cloning import plain_layer
from tfqkd.fronts.tfmot.model_advice import advice_on
from tfqkd.fronts.tfmot.model_files import require_data_only
from tfqkd.process.messages import last_line


def load_model(path: pathlib.Path) -> keras.Model:
    """Loads a saved Keras model for inference.

    Raises:
        ValueError: If the file is no Functional or Sequential Keras model, or holds code to execute.
    """
    try:
        require_data_only(path)
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        if not getattr(model, "inputs", None):
            raise TypeError(f"a {type(model).__name__} without inputs")
        wrapped = [layer for layer in model.layers if plain_layer(layer) is not layer]
        if wrapped:
            raise TypeError(f"a model with a {type(wrapped[0]).__name__}")
    except (MemoryError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(
            "A model must be a saved Functional or Sequential tf_keras model (.keras, .h5 or SavedModel). "
            f"Received: {path}, which does not load: {advice_on(path, error)}."
        ) from error
    return model


def require_runs(name: str, model: keras.Model, data: ImageData) -> None:
    """Refuses a saved model that cannot compute: Keras builds and saves some that it refuses to call.

    Raises:
        ValueError: If it is such a model.
    """
    try:
        model(data.train.images[:1], training=False)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ValueError(
            f"A saved model must run on images of the data set {data.name}. "
            f"Received: {name}, which Keras refuses to call ({last_line(error)}). "
            "Build it again, and train it."
        ) from error


def require_precision(name: str, model: keras.Model, policy: str) -> None:
    """Refuses a saved student that computes in another precision than the run.

    It is trained in the precision of its file, whatever the policy: they must agree.

    Raises:
        ValueError: If it does.
    """
    wanted = keras.mixed_precision.Policy(policy).compute_dtype
    found = {layer.compute_dtype for layer in model.layers if layer.weights}
    # Single layers, such as the logits, are float32 under every policy.
    if not {wanted} <= found <= {wanted, "float32"}:
        raise ValueError(
            "A saved student must compute in the precision of the run. "
            f"Received: {name}, whose layers compute in {', '.join(sorted(found))}, with "
            f"mixed_precision={policy}. Set --run.mixed_precision to what it has, or build it under "
            "keras.mixed_precision.set_global_policy(...), load its weights and save it again."
        )
