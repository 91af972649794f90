"""The metrics of a compiled model, before its first step."""

from typing import Any

from tfqkd.compat import keras, tf


def built_metrics(network: keras.Model, trained: keras.Model) -> list[keras.metrics.Metric]:
    """Returns the metrics of a compiled model, whose variables Keras would make at the first step only.

    Args:
        network: What trains: the trained network itself, or a distiller.
        trained: The network whose logits the metrics measure.
    """
    logits = tf.zeros((1, trained.output_shape[-1]))
    network.compiled_loss.build(logits)
    network.compiled_metrics.build(logits, logits)
    return network.metrics


def build_ahead(network: keras.Model, trained: keras.Model, iterator: Any) -> None:
    """Makes the variables that Keras would make within the first step, which TensorFlow then traces twice.

    What the batches or the network do not tell is left to the step.

    Args:
        network: A distiller, compiled.
        trained: The network whose logits the metrics measure.
        iterator: Of the batches to train on.
    """
    with network.distribute_strategy.scope():
        if isinstance(network.optimizer, keras.optimizers.Optimizer):
            beside = [v for each in network.beside for v in each.trainable_variables]
            network.optimizer.build([*trained.trainable_variables, *beside])
        _, labels, _ = keras.utils.unpack_x_y_sample_weight(iterator.element_spec)
        shape = getattr(trained, "output_shape", None)
        known = isinstance(labels, tf.TensorSpec) and isinstance(shape, tuple)
        if known and not network.compiled_metrics.built:
            network.compiled_metrics.build(tf.TensorSpec(shape, tf.float32), labels)
