"""First steps of quantized activations, from data."""

from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.fronts.batches import input_batches
from tfqkd.fronts.tfmot.model import quantized_activations
from tfqkd.fronts.tfmot.stripping import strip_weights


def calibrate_activations(model: keras.Model, data: Any) -> None:
    """Starts the learned scales of a model's quantized activations from data; to call before training.

    As LSQ does it with the first batch (arXiv 1902.08153, section 2.1): the inputs of the quantizers are
    those of a training step with quantized weights; the activations before them are taken as float.

    Args:
        model: What `quantize_model` or `quantize_apply` made.
        data: Inputs, (inputs, labels), or an iterable of such batches; a `tf.data.Dataset` is one.

    Raises:
        ValueError: If the model quantizes no activations, or there is no data.
    """
    activations = list(quantized_activations(model))
    if not activations:
        raise ValueError(
            "calibrate_activations needs a model with quantized activations. "
            f"Received: {model.name}, which has none. Quantize it with Scheme(..., activations=...)."
        )
    plain = strip_weights(model)
    probe = keras.Model(plain.inputs, [_outputs(plain, found.layer) for found in activations])
    totals, largest, count = np.zeros(len(activations)), np.zeros(len(activations)), 0
    for inputs in map(tf.convert_to_tensor, input_batches(data)):
        batch = [_joined(outputs) for outputs in probe(inputs, training=True)]
        size = len(inputs)
        totals += size * np.array([float(tf.reduce_mean(tf.abs(x))) for x in batch])
        largest = np.maximum(largest, [float(tf.reduce_max(tf.abs(x))) for x in batch])
        count += size
    if not count:
        raise ValueError("There must be data to calibrate on. Received: no batch.")
    for activation, total, peak in zip(activations, totals, largest, strict=True):
        activation.learned.assign(
            activation.quantizer.first_value(float(total / count), float(peak))
        )


def _outputs(model: keras.Model, name: str) -> list[tf.Tensor]:
    """What a layer puts out, each time that the model calls it."""
    layer = model.get_layer(name)
    return [layer.get_output_at(call) for call in range(len(layer.inbound_nodes))]


def _joined(outputs: Any) -> tf.Tensor:
    flat = [tf.reshape(tf.cast(x, tf.float32), [-1]) for x in tf.nest.flatten(outputs)]
    return tf.concat(flat, axis=0)
