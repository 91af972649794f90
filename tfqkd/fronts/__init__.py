"""The fronts: each makes tfqkd's core work on one Keras. What it offers: `tfqkd.fronts.front.Front`."""

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tfqkd.fronts.front import Front
    from tfqkd.fronts.tfmot import front as tfmot

    _HAS_ALL_NAMES: Front = tfmot

FRONTS = {"tfmot": "tfqkd.fronts.tfmot.front", "keras3": "tfqkd.fronts.keras3.front"}
"""The module of each front."""
_EXTRAS = ("jax", "torch")
"""The extras that are backends of Keras 3; TensorFlow comes with tfqkd."""


def choose(name: str = "tfmot") -> "Front":
    """Returns a front, which loads its Keras.

    Raises:
        ImportError: If it is that of Keras 3, and the backend that KERAS_BACKEND names is not installed.
    """
    backend = os.environ.get("KERAS_BACKEND", "")
    if name == "keras3" and backend in _EXTRAS and importlib.util.find_spec(backend) is None:
        raise ImportError(
            "Keras 3 must have the backend that KERAS_BACKEND names. "
            f"Received: KERAS_BACKEND={backend}, in an environment without it. "
            f"Install it with: pip install 'tfqkd[{backend}]'"
        )
    return cast("Front", importlib.import_module(FRONTS[name]))
