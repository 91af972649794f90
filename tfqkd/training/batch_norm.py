"""Batch norm over the global batch of all replicas, so that many devices train what one trains."""

from tfqkd.compat import keras


def with_batch_norm(model: keras.Model, synchronized: bool) -> keras.Model:
    """Returns a model whose batch norm takes its statistics over all replicas, or over each one's part.

    Args:
        model: A Functional or Sequential model; it stays as it is.
        synchronized: Whether statistics are of the global batch.

    Returns:
        A copy with the same weights, or the model itself if there is nothing to change.
    """
    kind = keras.layers.BatchNormalization

    def differs(layer: keras.layers.Layer) -> bool:
        return isinstance(layer, kind) and getattr(layer, "synchronized", False) != synchronized

    if not any(differs(module) for module in model.submodules):
        return model

    def rebuild(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if differs(layer):
            config["synchronized"] = synchronized
        return type(layer).from_config(config)

    twin = keras.models.clone_model(model, clone_function=rebuild)
    twin.set_weights(model.get_weights())
    return twin
