"""Batch-norm statistics measured again, for weights that changed since the moving averages were taken."""

from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.batch_norm import NONE_TO_MEASURE, Moments
from tfqkd.fronts.batches import input_batches
from tfqkd.fronts.tfmot.cloning import clone, copied, plain_layer
from tfqkd.fronts.tfmot.stripping import strip_quantization


def reestimate_batch_norm(model: keras.Model, data: Any) -> None:
    """Replaces the moving statistics of every batch norm by those of the whole data.

    The moving averages of training lag behind codes that flip from step to step. Here the weights rest: each
    batch passes with the statistics of its own, as in training, and mean and variance are pooled over all of
    them, `μ = E[μ_B]`, `σ² = E[σ_B² + μ_B²] - μ²` ("precise batch norm", arXiv 2105.07576, section 3). Layers
    that are frozen keep theirs; dropout is off.

    Args:
        model: A quantized or float Functional or Sequential model; its batch norms are changed in place.
        data: Inputs, (inputs, labels), or an iterable of such batches: large ones, drawn as for training.

    Raises:
        ValueError: If the model has no batch norm to change, or there is no data.
    """
    names = {layer.name for layer in require_batch_norm(model)}
    plain = strip_quantization(model)

    def observe(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in names:
            return _Observed.from_config(layer.get_config())
        return copied(layer)

    probe = clone(plain, observe)
    probe.set_weights(plain.get_weights())
    for inputs in map(tf.convert_to_tensor, input_batches(data)):
        probe(inputs, training=False)
    for layer in batch_norms(model):
        mean, variance = probe.get_layer(layer.name).moments.pooled()
        layer.moving_mean.assign(mean.reshape(layer.moving_mean.shape))
        layer.moving_variance.assign(variance.reshape(layer.moving_variance.shape))


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the batch norms of a quantized or float model that are not frozen."""
    return [
        layer
        for layer in map(plain_layer, model.layers)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def require_batch_norm(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns `batch_norms(model)`.

    Raises:
        ValueError: If there is none.
    """
    found = batch_norms(model)
    if not found:
        raise ValueError(NONE_TO_MEASURE.format(model.name))
    return found


class _Observed(keras.layers.BatchNormalization):
    """A batch norm that normalizes by the batch, and sums up the moments of all that it saw eagerly."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.moments = Moments()

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        del training, mask
        values = tf.cast(inputs, tf.float32)
        channels = [axis % len(values.shape) for axis in tf.nest.flatten(self.axis)]
        axes = [axis for axis in range(len(values.shape)) if axis not in channels]
        mean, variance = tf.nn.moments(values, axes, keepdims=True)
        if tf.executing_eagerly():
            count = int(tf.size(values)) // int(tf.size(mean))
            self.moments.add(count, mean.numpy(), variance.numpy())
        gamma, beta = (
            None if weight is None else tf.reshape(tf.cast(weight, tf.float32), mean.shape)
            for weight in (self.gamma, self.beta)
        )
        normalized = tf.nn.batch_normalization(values, mean, variance, beta, gamma, self.epsilon)
        return tf.cast(normalized, inputs.dtype)
