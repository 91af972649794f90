"""Quantizers as files hold them: the name of the class, and its settings."""

from typing import Any

from tfqkd.core.activations import ACTIVATION_QUANTIZERS, ActivationQuantizer
from tfqkd.core.clustered import ClusteredQuantizer
from tfqkd.core.composite import FloatQuantizer
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.pruned import PrunedQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.quantizers import QUANTIZERS

_COMPOSITE = (FloatQuantizer, ClusteredQuantizer, PrunedQuantizer, GradualQuantizer)
_CLASSES: dict[str, Any] = (
    QUANTIZERS | ACTIVATION_QUANTIZERS | {cls.__name__: cls for cls in _COMPOSITE}
)


def serialized(quantizer: WeightQuantizer | ActivationQuantizer) -> dict[str, Any]:
    """Returns a quantizer as JSON takes it."""
    return {"quantizer": type(quantizer).__name__, "settings": quantizer.get_config()}


def deserialized(config: dict[str, Any]) -> Any:
    """Returns the quantizer of a config.

    Raises:
        ValueError: If it names none of tfqkd.
    """
    cls = _CLASSES.get(config["quantizer"])
    if cls is None:
        raise ValueError(
            f"A quantizer must be one of {', '.join(_CLASSES)}. Received: {config['quantizer']!r}. "
            "Load the model with the version of tfqkd that saved it."
        )
    return cls.from_config(config["settings"])
