"""The metrics of a compiled model, before its first step."""

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
