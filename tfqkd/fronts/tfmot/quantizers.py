"""The core's weight quantizers as tfmot objects, and their state as variables of a tfmot wrapper."""

from typing import Any

import numpy as np

from tfqkd.compat import keras, tf, tfmot, true_value
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.steps import SMALLEST_STEP
from tfqkd.fronts.tfmot.kernels import require_kernel
from tfqkd.fronts.tfmot.ops import OPS


class KernelQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """A quantizer of a layer's kernel, whose state lives in variables of the wrapped layer.

    Args:
        settings: What it quantizes by.
    """

    def __init__(self, settings: WeightQuantizer) -> None:
        self.settings = settings

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: keras.layers.Layer
    ) -> dict[str, tf.Variable]:
        """Makes the state as variables of `layer`, a tfmot wrapper, from the weights it holds now."""
        del tensor_shape
        _list_weights(layer)
        axes = require_kernel(layer.layer, name).channel_axes
        with tf.init_scope():
            latent = true_value(getattr(layer.layer, name)).numpy()
        first = self.settings.initial_state(latent, axes)
        learned = self.settings.learned
        return {
            key: (add_learned if key in learned else add_followed)(layer, f"{name}_{key}", value)
            for key, value in first.items()
        }

    # AutoGraph would take the core apart at every tracing, and finds nothing to convert.
    @tf.autograph.experimental.do_not_convert
    def __call__(
        self, inputs: tf.Variable, training: bool, weights: dict[str, tf.Variable], **_: Any
    ) -> tf.Tensor:
        """Returns the quantized weights, in the dtype that the layer computes in.

        In training, weights that rest are put back and the state is updated first.
        """
        latent = true_value(inputs)
        state = read(weights)
        if training:
            if self.settings.rests:
                latent = self.settings.restored(latent, state, OPS)
                inputs.assign(latent)
            updated = self.settings.updated(tf.stop_gradient(latent), state, OPS)
            for key, value in updated.items():
                weights[key].assign(value)
            state |= updated
        return tf.cast(self.settings.quantize(latent, state, OPS), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns nothing: `configs.LayerQuantizeConfig` saves the settings."""
        return {}


def read(variables: dict[str, tf.Variable]) -> dict[str, tf.Tensor]:
    """Returns the values of a state."""
    return {key: tf.convert_to_tensor(variable) for key, variable in variables.items()}


def add_followed(
    layer: keras.layers.Layer, name: str, first: np.ndarray | tf.Tensor
) -> tf.Variable:
    """Adds a float32 variable to a tfmot wrapper that follows the weights and no gradient."""
    _list_weights(layer)
    return layer.add_weight(
        name=name,
        shape=first.shape,
        dtype=tf.float32,
        initializer=lambda shape, dtype: tf.convert_to_tensor(first, dtype),
        trainable=False,
        experimental_autocast=False,
        # Each replica computes the same value from the same weights: keep them apart, read the first.
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def add_learned(layer: keras.layers.Layer, name: str, first: np.ndarray | tf.Tensor) -> tf.Variable:
    """Adds a float32 variable to a tfmot wrapper that the optimizer trains and keeps above zero."""
    _list_weights(layer)
    return layer.add_weight(
        name=name,
        shape=first.shape,
        dtype=tf.float32,
        initializer=lambda shape, dtype: tf.convert_to_tensor(first, dtype),
        constraint=lambda value: tf.maximum(value, SMALLEST_STEP),
        experimental_autocast=False,
    )


def _list_weights(wrapper: keras.layers.Layer) -> None:
    """Lists the weights of the wrapped layer among those of a tfmot wrapper, if they are not.

    tfmot lists them first if the layer was built before, and some of them last if not: a model that is loaded
    would have other lists than the one that was saved, and Keras refuse its file.
    """
    listed = {id(weight) for weight in wrapper._trainable_weights}
    wrapper._trainable_weights.extend(
        weight for weight in wrapper.layer.trainable_weights if id(weight) not in listed
    )
