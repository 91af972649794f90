"""What a Keras model returns, as far as its last layer, its loss and its outputs tell."""

import re
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.output_form import output_names
from tfqkd.runtime.outputs import LOGITS, OUTPUTS, SIGMOID, SIGMOID_LOGITS, SOFTMAX, VALUES

# By the names of layers, and of functions of TensorFlow between layers, in lower case.
_KEEPING = re.compile(
    "reshape|squeeze|flatten|permute|cast|identity|stop_gradient|(spatial|gaussian|alpha)?dropout(1d|2d)?|"
    "gaussiannoise|activityregularization|activationquantization"
)
"""They hand on at inference what they get."""
_BENDING = re.compile(
    "(leaky_?|p|thresholded)?relu6?|s?elu|gelu|swish|silu|tanh|softplus|softsign|exp|exponential"
)
"""No logits are to be expected after them."""
_OF_TASK = {"softmax": LOGITS, "sigmoid": SIGMOID_LOGITS, "regression": VALUES}
_JOINING = re.compile("average|maximum|minimum|concatenate")


def output_of(
    model: keras.Model, outputs: np.ndarray, given: str | None = None, index: int = 0
) -> str:
    """Returns what a model returns, of `tfqkd.runtime.outputs.OUTPUTS`.

    A last softmax or sigmoid shows in the model, wherever it stands; a softmax inside of a layer of
    one's own in the outputs, whose sum is 1. Of other outputs the loss tells what they are, logits or
    values, that the model or its Distiller was compiled with. Without one they are logits, or values if
    they are bent by another function, such as ReLU, or there is one alone.

    Args:
        model: A Functional or Sequential model.
        outputs: What it returned for some images, [n, ..., classes].
        given: What the user says it is, if the model may not show it.
        index: Of several outputs, which one.

    Raises:
        ValueError: If what is given is unknown, or the outputs are nothing of the kind.
    """
    if given is not None:
        _require_possible(outputs, given)
        return given
    function = _last_function(model.outputs[index])
    within = bool((outputs >= 0).all() and (outputs <= 1).all())
    if function == SOFTMAX:
        # Quantized, they add up to nearly 1; to more, if it is the softmax of groups.
        return SOFTMAX if np.abs(outputs.sum(axis=-1) - 1).max() < 0.5 else VALUES
    if function == SIGMOID:
        return SIGMOID
    if _add_up_to_one(outputs):
        return SOFTMAX
    told = _OF_TASK.get(_task(model, index)) or _of_loss(_loss(model, index), within)
    if told is not None:
        return told
    return LOGITS if function is None and outputs.shape[-1] > 1 else VALUES


def _require_possible(outputs: np.ndarray, given: str) -> None:
    if given not in OUTPUTS:
        raise ValueError(
            f"`output` must be one of {', '.join(OUTPUTS)}. Received: output={given!r}. "
            "Leave it out to let the model tell."
        )
    low, high = float(outputs.min()), float(outputs.max())
    if given in (SOFTMAX, SIGMOID) and not 0 <= low <= high <= 1:
        raise ValueError(
            f"Probabilities must be 0 to 1. Received: output={given!r} for a model that returned {low:.3g} "
            f"to {high:.3g}. Pass output={LOGITS if given == SOFTMAX else SIGMOID_LOGITS!r}."
        )
    if given in (LOGITS, SIGMOID_LOGITS) and _add_up_to_one(outputs):
        raise ValueError(
            f"Logits must be those before the softmax. Received: output={given!r} for a model whose "
            f"outputs add up to 1 for each image. Pass output={SOFTMAX!r}, or cut the softmax off."
        )


def _add_up_to_one(outputs: np.ndarray) -> bool:
    sums = outputs.sum(axis=-1, dtype=np.float64)
    return outputs.shape[-1] > 1 and bool((outputs >= 0).all() and np.abs(sums - 1).max() < 1e-3)


def _last_function(tensor: Any) -> str | None:
    """Returns "softmax", "sigmoid", "other" or None by what function made a symbolic tensor."""
    layer, node, index = tensor._keras_history
    if isinstance(layer, keras.Model):
        return _last_function(layer.outputs[index])
    inputs = layer.inbound_nodes[node].keras_inputs
    # A wrapper, such as tfmot's, holds the layer that it calls.
    layer = getattr(layer, "layer", layer)
    name, is_activation = _function(layer)
    if inputs and (
        _KEEPING.fullmatch(name) or (name, type(layer)) == ("linear", keras.layers.Activation)
    ):
        return _last_function(inputs[0])
    if _JOINING.fullmatch(name):
        joined = {_last_function(each) for each in inputs}
        return joined.pop() if len(joined) == 1 else None
    if name.startswith("softmax"):
        return SOFTMAX
    if name.startswith(("sigmoid", "hard_sigmoid")):
        return SIGMOID
    # The softmax of the logarithm of a softmax is that softmax.
    is_plain = name == "linear" or name.startswith("log_softmax")
    return "other" if _BENDING.fullmatch(name) or (is_activation and not is_plain) else None


def _function(layer: Any) -> tuple[str, bool]:
    """Returns the name of what a layer does at its end, and whether that is its activation."""
    # What Keras makes of a function of TensorFlow between layers.
    symbol = getattr(layer, "symbol", None)
    if isinstance(symbol, str):
        return symbol.split(".")[-1], False
    activation = getattr(layer, "activation", None)
    # tfmot wraps an activation in an object that holds it under the same name.
    activation = getattr(activation, "activation", activation)
    if activation is None:
        return type(layer).__name__.lower(), False
    return getattr(activation, "__name__", type(activation).__name__).lower(), True


def _task(model: keras.Model, index: int) -> str:
    """What a Distiller took an output for; "" where none did."""
    told = getattr(model, "distilled_task", "")
    return told if isinstance(told, str) else told[index]


def _loss(model: keras.Model, index: int) -> Any:
    """Returns the loss that a model was compiled with for an output; None where there is none."""
    given = getattr(model, "loss", None)
    if isinstance(given, dict) and len(model.outputs) > 1:
        given = given.get(output_names(model)[index])
    elif isinstance(given, (list, tuple)) and len(model.outputs) > 1:
        given = given[index]
    losses = [loss for loss in tf.nest.flatten(given) if loss is not None]
    return keras.losses.get(losses[0]) if len(losses) == 1 else None


def _of_loss(loss: Any, within: bool) -> str | None:
    """Returns what a loss takes outputs for."""
    if loss is None:
        return None
    name = getattr(getattr(loss, "fn", loss), "__name__", "")
    is_of_classes = "entropy" in name or name == keras.losses.kl_divergence.__name__
    if not is_of_classes:
        return VALUES if hasattr(keras.losses, name) else None
    settings = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    takes_logits = settings.get("from_logits", False) or name.endswith("_with_logits")
    if name.startswith(("binary", "sigmoid")):
        if takes_logits:
            return SIGMOID_LOGITS
        return SIGMOID if within else None
    return LOGITS if takes_logits and ("categorical" in name or "softmax" in name) else None
