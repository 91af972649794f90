"""Batch norm over the global batch of all replicas, so that many devices train what one trains."""

from tfqkd.compat import keras


def synchronize_batch_norm(model: keras.Model) -> keras.Model:
    """Lets the batch norm of a model take its statistics over all replicas.

    It is set on the layers themselves, since Keras leaves it out of a layer's config: whatever copies or
    saves the model returns to plain batch norm, which is the same on one device.

    Args:
        model: A model that has not been trained or called in a graph yet; it is changed.

    Returns:
        The model.
    """
    for module in model.submodules:
        if isinstance(module, keras.layers.BatchNormalization):
            module.synchronized = True
            # The fused kernel knows its own replica only.
            module.fused = False
    return model
