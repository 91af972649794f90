"""First steps of quantized activations, from data."""

from typing import Any

import keras
import numpy as np

from tfqkd.fronts.batches import input_batches
from tfqkd.fronts.keras3.cloning import clone, copied, leaves
from tfqkd.fronts.keras3.model import quantized_activations
from tfqkd.fronts.keras3.stripping import strip_weights

_ops = keras.ops


def calibrate_activations(model: keras.Model, data: Any) -> None:
    """Starts the learned scales of a model's quantized activations from data; to call before training.

    As LSQ does it with the first batch (arXiv 1902.08153, section 2.1): the inputs of the quantizers are
    those of a training step with quantized weights; the activations before them are taken as float.

    Args:
        model: What `quantize_model` made.
        data: Inputs, (inputs, labels), or an iterable of such batches.

    Raises:
        ValueError: If the model quantizes no activations, or there is no data.
    """
    activations = {found.layer: found for found in quantized_activations(model)}
    if not activations:
        raise ValueError(
            "calibrate_activations needs a model with quantized activations. "
            f"Received: {model.name}, which has none. Quantize it with Scheme(..., activations=...)."
        )
    probes = {name: _Probe(name=f"{name.rpartition('/')[2]}_probe") for name in activations}
    plain = strip_weights(model)
    behind = {id(layer): probes[name] for name, layer in leaves(plain) if name in probes}
    observed = clone(plain, copied, behind)
    count = 0
    for inputs in input_batches(data):
        observed(inputs, training=True)
        count += len(inputs)
    if not count:
        raise ValueError("There must be data to calibrate on. Received: no batch.")
    for name, found in activations.items():
        probe = probes[name]
        first = found.quantizer.first_value(probe.total / probe.count, probe.largest)
        found.learned.assign(first)


class _Probe(keras.layers.Layer):
    """Passes on what it gets, and notes its magnitudes when it is called eagerly."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.total, self.largest, self.count = 0.0, 0.0, 0
        self.built = True

    def call(self, inputs: Any) -> Any:
        if not isinstance(inputs, keras.KerasTensor):
            values = np.abs(_ops.convert_to_numpy(inputs).astype(np.float32))
            self.total += float(values.sum(dtype=np.float64))
            self.largest = max(self.largest, float(values.max()))
            self.count += values.size
        return inputs

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(inputs.shape, inputs.dtype)
