"""What a Keras 3 model returns, as far as its last layer and its outputs tell."""

from typing import Any

import keras
import numpy as np

from tfqkd.fronts.keras3.cloning import is_graph
from tfqkd.fronts.keras3.layers import ActivationQuantization
from tfqkd.fronts.keras3.policy import node_of
from tfqkd.fronts.keras3.wrapper import QuantizedLayer
from tfqkd.runtime.outputs import LOGITS, SIGMOID, SOFTMAX, VALUES

_layers = keras.layers
_KEEPING = (
    _layers.Flatten,
    _layers.Reshape,
    _layers.Dropout,
    _layers.Identity,
    _layers.ActivityRegularization,
    ActivationQuantization,
)
"""They hand on at inference what they get."""
_BENDING = (_layers.ReLU, _layers.LeakyReLU, _layers.ELU, _layers.PReLU)
"""No logits are to be expected after them."""


def output_of(model: keras.Model, outputs: np.ndarray) -> str:
    """Returns what a model returns, of `tfqkd.runtime.outputs.OUTPUTS`.

    Args:
        model: The model; of a subclassed one the outputs alone tell.
        outputs: What it returned for some images, [n, classes].

    Returns:
        Probabilities where it ends in softmax or sigmoid, or the outputs add up to 1; values where it ends in
        another function, or in one output; else logits.
    """
    sums = outputs.sum(axis=1, dtype=np.float64)
    adds_up = bool((outputs >= 0).all() and np.abs(sums - 1).max() < 1e-3)
    function = _last_function(model.outputs[0]) if is_graph(model) else "linear"
    if function == "softmax" or (adds_up and outputs.shape[1] > 1):
        return SOFTMAX
    if function == "sigmoid":
        return SIGMOID
    return LOGITS if function == "linear" and outputs.shape[1] > 1 else VALUES


def _last_function(tensor: Any) -> str:
    """The name of the function that made a symbolic tensor; "linear" of a layer without an activation."""
    node = node_of(tensor)
    operation = node.operation
    if is_graph(operation):
        return _last_function(operation.outputs[tensor._keras_history.tensor_index])
    layer = operation.layer if isinstance(operation, QuantizedLayer) else operation
    function = getattr(getattr(layer, "activation", None), "__name__", "linear")
    keeps = isinstance(layer, _KEEPING) or (
        isinstance(layer, _layers.Activation) and function == "linear"
    )
    if keeps and node.input_tensors:
        return _last_function(node.input_tensors[0])
    own = isinstance(layer, (_layers.Softmax, *_BENDING))
    return type(layer).__name__.lower() if own else function
