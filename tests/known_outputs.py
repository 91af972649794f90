"""Lets Keras trace a layer once, and not each layer of the same settings that is put on the same input.

To learn the shape of a layer's output, tf_keras computes the layer in a graph that it throws away. Tests
build small models by the thousand, mostly of the same few layers: it was a sixth of the suite's time.
With `-n 0` Keras traces them all.
"""

from collections.abc import Hashable
from typing import Any

from tf_keras.src.engine.base_layer import Layer
from tf_keras.src.engine.keras_tensor import KerasTensor
from tf_keras.src.mixed_precision.autocast_variable import enable_auto_cast_variables

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.wrapper import QuantizedLayer

# They draw nothing, have no masks, and leave nothing behind where they are computed.
_PLAIN = {
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.ZeroPadding2D,
}
_SETTING = (bool, int, float, str, tuple, list, type(None))

_infer = Layer._infer_output_signature
_known: dict[Hashable, tuple[tf.TensorShape, tf.DType, str]] = {}


def trace_once() -> None:
    """Puts it in the place of Keras' own way, for this process."""
    Layer._infer_output_signature = _infer_once


def _infer_once(layer: Layer, inputs: Any, args: tuple, kwargs: dict, masks: Any) -> Any:
    key = None if args or masks is not None else _key(layer, tf.nest.flatten(inputs), kwargs)
    if key is None:
        return _infer(layer, inputs, args, kwargs, masks)
    if key not in _known:
        output = _infer(layer, inputs, args, kwargs, masks)
        if type(output) is KerasTensor and output.name.startswith(f"{layer.name}/"):
            _known[key] = output.shape, output.dtype, output.name.removeprefix(layer.name)
        return output
    casts = enable_auto_cast_variables(layer._compute_dtype_object)
    with keras.backend.name_scope(layer._name_scope()), casts:
        layer._maybe_build(inputs)
    layer._set_save_spec(inputs, args, kwargs)
    shape, dtype, name = _known[key]
    return KerasTensor(tf.TensorSpec(shape, dtype), name=layer.name + name)


def _key(layer: Layer, inputs: list, kwargs: dict[str, Any]) -> Hashable | None:
    """All that the output depends on; None of what is traced each time."""
    if not tf.executing_eagerly() or tf.__internal__.get_name_scope():
        return None
    if not all(type(each) is KerasTensor for each in inputs):
        return None
    if set(kwargs) - {"training"} or tf.is_tensor(kwargs.get("training")):
        return None
    quantizers, plain = "", layer
    if type(layer) is QuantizedLayer:
        quantizers, plain = repr(layer.quantize_config.get_config()), layer.layer
    activation = vars(plain).get("activation", keras.activations.linear)
    own = not getattr(activation, "__module__", "").startswith("tf_keras.")
    if type(plain) not in _PLAIN or own or plain.activity_regularizer is not None:
        return None
    return (
        type(layer),
        quantizers,
        layer.dtype_policy.name,
        layer.trainable,
        str(kwargs),
        tuple((each.dtype, str(each.shape)) for each in inputs),
        type(plain),
        plain.dtype_policy.name,
        tuple(str(weight.shape) for weight in plain.weights),
        activation,
        tuple(
            (name, str(value))
            for name, value in vars(plain).items()
            if name[0] != "_" and isinstance(value, _SETTING)
        ),
    )
