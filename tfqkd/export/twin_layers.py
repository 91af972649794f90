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

_OPERATIONS = frozenset(["Add", "Subtract", "Multiply", "Divide", "TrueDivide"])


def require_twin(model: Any) -> None:
    """Raises if a layer of a Keras 3 model cannot be exported; to be called before a training, say.

    Args:
        model: A Functional or Sequential model, quantized or not.

    Raises:
        ValueError: If a layer or operation has no tf_keras twin, or the model is subclassed.
    """
    for path, operation in _operations(model):
        if not _known(operation):
            raise ValueError(
                "Every layer of a Keras 3 model must have a tf_keras twin to be exported. Received: "
                f"{type(operation).__name__} '{path}', which has none. Replace it, or export with "
                "model.export(...) of Keras, in float32."
            )


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
        else:
            yield f"{path}{plain.name}", plain


def _known(operation: Any) -> bool:
    package, name = type(operation).__module__.partition(".")[0], type(operation).__name__
    if package == "tfqkd":
        return name == "ActivationQuantization"
    if package != "keras":
        return False
    is_layer = hasattr(operation, "get_weights")
    return name in (HAS_TWIN if is_layer else _OPERATIONS)
