"""Batch-norm statistics measured again, for weights that changed since the moving averages were taken."""

import math
from typing import Any

import keras
import numpy as np

from tfqkd.core.batch_norm import NONE_TO_MEASURE, Moments
from tfqkd.fronts.batches import input_batches
from tfqkd.fronts.keras3.cloning import clone, copied, leaves
from tfqkd.fronts.keras3.stripping import strip_quantization
from tfqkd.fronts.keras3.wrapper import plain_layer

_ops = keras.ops


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
    norms = batch_norms(model)
    if not norms:
        raise ValueError(NONE_TO_MEASURE.format(model.name))
    plain = strip_quantization(model)
    names = {id(layer): name for name, layer in leaves(plain)}
    observed: dict[str, _Observed] = {}

    def change(layer: keras.layers.Layer) -> keras.layers.Layer:
        name = names[id(layer)]
        if name not in norms:
            return copied(layer)
        observed[name] = _Observed.from_config(layer.get_config())
        observed[name].build_from_config(layer.get_build_config())
        observed[name].set_weights(layer.get_weights())
        return observed[name]

    probe = clone(plain, change)
    for inputs in input_batches(data):
        probe(inputs, training=False)
    for name, layer in norms.items():
        mean, variance = observed[name].pooled()
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def batch_norms(model: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """Returns the batch norms of a quantized or float model that are not frozen, by name."""
    layers = {name: plain_layer(layer) for name, layer in leaves(model)}
    return {
        name: layer
        for name, layer in layers.items()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    }


class _Observed(keras.layers.BatchNormalization):
    """A batch norm that normalizes by the batch, and keeps the moments of each that it saw eagerly.

    They stay on their device until they are pooled: activations on the way to the host and back would take
    longer than a training.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._seen: list[tuple[int, Any, Any]] = []

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and variance of each channel over all batches, float32."""
        moments = Moments()
        for count, *of_batch in self._seen:
            moments.add(count, *map(_ops.convert_to_numpy, of_batch))
        mean, variance = moments.pooled()
        return np.ravel(mean), np.ravel(variance)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        del training, mask
        if isinstance(inputs, keras.KerasTensor):
            return inputs
        # PyTorch would keep the graph of every batch.
        values = _ops.stop_gradient(_ops.cast(inputs, "float32"))
        axis = self.axis % len(values.shape)
        shared = [each for each in range(len(values.shape)) if each != axis]
        mean = _ops.mean(values, shared, keepdims=True)
        variance = _ops.mean(_ops.square(values - mean), shared, keepdims=True)
        count = math.prod(values.shape[each] for each in shared)
        self._seen.append((count, mean, variance))
        normalized = (values - mean) * _ops.rsqrt(variance + self.epsilon)
        for weight, combined in ((self.gamma, _ops.multiply), (self.beta, _ops.add)):
            if weight is not None:
                numbers = _ops.reshape(_ops.cast(weight.value, "float32"), mean.shape)
                normalized = combined(normalized, numbers)
        return _ops.cast(normalized, inputs.dtype)

    def compute_output_spec(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return keras.KerasTensor(inputs.shape, self.compute_dtype)
