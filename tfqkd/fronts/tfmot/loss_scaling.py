"""Loss scaling: gradients of float16 would vanish without it."""

from typing import Any

from tfqkd.compat import keras


def with_loss_scaling(optimizer: Any, model: keras.Model) -> Any:
    """Returns the optimizer, or one that scales the loss for a model that computes in float16.

    Args:
        optimizer: What `compile` takes: an optimizer, its name or its config.
        model: What it trains.
    """
    if not any(layer.compute_dtype == "float16" for layer in model.layers):
        return optimizer
    optimizer = keras.optimizers.get(optimizer)
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        return optimizer
    return keras.mixed_precision.LossScaleOptimizer(optimizer)
