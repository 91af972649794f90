"""Batch norm of Keras 3 that trains by TensorFlow's one kernel, as that of tf_keras does."""

from typing import Any

import keras

_ops = keras.ops
_DTYPES = ("float32", "float16", "bfloat16")


@keras.saving.register_keras_serializable("tfqkd")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' own layer, whose training step is one operation on TensorFlow instead of nine.

    Values, gradients and moving averages are those of Keras but for rounding. Inference, other backends, and
    what the kernel does not know (masks, statistics over all replicas, renormalization, another axis than the
    last, no scale or shift) are left to Keras. It has the class name of Keras' layer, so that files of
    weights fit both. `quantize_model` puts it into models on TensorFlow, `strip_quantization` takes it out.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the normalized inputs; in training the moving averages take the batch's moments."""
        if training and self.trainable and mask is None and self._fits(inputs):
            return self._trained(inputs)
        return super().call(inputs, training=training, mask=mask)

    def _fits(self, inputs: Any) -> bool:
        """Whether the kernel computes what the settings say."""
        return (
            keras.backend.backend() == "tensorflow"
            and self.axis in (-1, len(inputs.shape) - 1)
            and self.scale
            and self.center
            and not self.synchronized
            and not self.renorm
            and keras.backend.standardize_dtype(inputs.dtype) in _DTYPES
        )

    def _trained(self, inputs: Any) -> Any:
        import tensorflow as tf  # noqa: PLC0415 (the backend)

        shape = _ops.shape(inputs)
        images = inputs if len(shape) == 4 else _ops.reshape(inputs, (-1, 1, 1, shape[-1]))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=_ops.cast(self.gamma, "float32"),
            offset=_ops.cast(self.beta, "float32"),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
        )
        # The kernel gives the variance of a sample; Keras averages that of the batch itself.
        count = _ops.cast(_ops.size(images) // shape[-1], "float32")
        moments = ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count))
        for variable, moment in moments:
            average = _ops.cast(variable, "float32")
            variable.assign(average * self.momentum + moment * (1.0 - self.momentum))
        outputs = outputs if len(shape) == 4 else _ops.reshape(outputs, shape)
        return _ops.cast(outputs, self.compute_dtype)


def trained_class(layer: keras.layers.Layer) -> type[keras.layers.Layer]:
    """Returns the class of a layer's copy in a model that trains on this backend."""
    fused = type(layer) is keras.layers.BatchNormalization and (
        keras.backend.backend() == "tensorflow"
    )
    return BatchNormalization if fused else type(layer)


def plain_class(layer: keras.layers.Layer) -> type[keras.layers.Layer]:
    """Returns the class of a layer's copy that needs Keras alone."""
    return keras.layers.BatchNormalization if type(layer) is BatchNormalization else type(layer)
