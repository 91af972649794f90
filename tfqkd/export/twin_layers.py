"""Which layers of Keras 3 have a tf_keras twin that computes the same. No framework is imported here."""

from collections.abc import Iterator
from typing import Any

HAS_TWIN = frozenset(
    [
        "Dense",
        "EinsumDense",
        "Embedding",
        "Conv1D",
        "Conv2D",
        "Conv3D",
        "Conv1DTranspose",
        "Conv2DTranspose",
        "Conv3DTranspose",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "SeparableConv1D",
        "SeparableConv2D",
        "MultiHeadAttention",
        "GroupedQueryAttention",
        "LSTM",
        "GRU",
        "SimpleRNN",
        "Bidirectional",
        "TimeDistributed",
        "BatchNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "UnitNormalization",
        "Normalization",
        "Rescaling",
        "ReLU",
        "LeakyReLU",
        "PReLU",
        "ELU",
        "Softmax",
        "Activation",
        "Flatten",
        "Reshape",
        "Permute",
        "RepeatVector",
        "Dropout",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        "GaussianNoise",
        "GaussianDropout",
        "ActivityRegularization",
        "Add",
        "Subtract",
        "Multiply",
        "Average",
        "Maximum",
        "Minimum",
        "Concatenate",
        "Dot",
        "MaxPooling1D",
        "MaxPooling2D",
        "MaxPooling3D",
        "AveragePooling1D",
        "AveragePooling2D",
        "AveragePooling3D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "GlobalMaxPooling3D",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalAveragePooling3D",
        "ZeroPadding1D",
        "ZeroPadding2D",
        "ZeroPadding3D",
        "Cropping1D",
        "Cropping2D",
        "Cropping3D",
        "UpSampling1D",
        "UpSampling2D",
        "UpSampling3D",
        "Identity",
        "InputLayer",
        "RandomFlip",
        "RandomRotation",
        "RandomTranslation",
        "RandomZoom",
        "RandomContrast",
    ]
)
"""Keras' own layers by name; `ActivationQuantization` of tfqkd has one too."""

ONLY_THE_TWIN = "require_twin"
"""What the process that exports is asked where it is to write nothing."""
_OPERATIONS = frozenset(["Add", "Subtract", "Multiply", "Divide", "TrueDivide"])
_INNER = ("layer", "forward_layer", "backward_layer")
"""Where a TimeDistributed or Bidirectional holds layers."""
_FLOATS = frozenset(["float16", "bfloat16", "float32", "float64"])


def require_twin(model: Any, *, settings: bool = False) -> None:
    """Raises if a layer of a Keras 3 model cannot be exported; to be called before a training, say.

    Args:
        model: A Functional or Sequential model, quantized or not.
        settings: Whether to make the twin too, in a process of its own where TensorFlow is: then settings
            are looked at, and what the layers compute.

    Raises:
        ImportError: If `settings` are to be looked at and TensorFlow is not installed.
        ValueError: If a layer or operation has no tf_keras twin, a layer does not compute in floats, or the
            model is subclassed; or if a twin drops a setting, or computes otherwise.
    """
    for path, operation in _operations(model):
        if not _known(operation):
            raise ValueError(
                "Every layer of a Keras 3 model must have a tf_keras twin to be exported. Received: "
                f"{type(operation).__name__} '{path}', which has none. Replace it, or export with "
                "model.export(...) of Keras, in float32."
            )
        policy = _foreign_policy(operation)
        if policy:
            raise ValueError(
                "Every layer of a Keras 3 model must compute in floats to be exported, which files do in "
                f"float32. Received: {type(operation).__name__} '{path}' of the dtype {policy}. Build it "
                "with a float dtype; quantize with tfqkd.quantize_model, not with model.quantize of Keras."
            )
    if settings:
        from tfqkd.export.twin_process import exported

        exported(ONLY_THE_TWIN, model, "", {})


def _operations(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if hasattr(model, "operations"):
        inside = model.operations
    elif type(model).__name__ == "Sequential":
        inside = model.layers
    else:
        yield model.name, model
        return
    for operation in inside:
        plain = operation.layer if type(operation).__name__ == "QuantizedLayer" else operation
        if hasattr(plain, "layers"):
            yield from _operations(plain, f"{path}{plain.name}/")
            continue
        yield f"{path}{plain.name}", plain
        for name in _INNER if _known(plain) else ():
            inner = getattr(plain, name, None)
            if inner is not None:
                yield f"{path}{plain.name}/{inner.name}", inner


def _known(operation: Any) -> bool:
    package, name = type(operation).__module__.partition(".")[0], type(operation).__name__
    if package == "tfqkd":
        return name == "ActivationQuantization"
    if package != "keras":
        return False
    return name in (HAS_TWIN if _is_layer(operation) else _OPERATIONS)


def _is_layer(operation: Any) -> bool:
    return hasattr(operation, "get_weights")


def _foreign_policy(operation: Any) -> str | None:
    """The name of a dtype policy in which a layer does not compute with floats, or with codes of Keras."""
    if not _is_layer(operation) or type(operation).__name__ == "InputLayer":
        return None
    from tfqkd.fronts.keras3.kernels import parts  # Keras 3 is there: the model is of it.

    for part in parts(operation):
        if part.quantization_mode is not None or part.compute_dtype not in _FLOATS:
            return str(part.dtype_policy.name)
    return None
