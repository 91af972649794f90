"""The fronts: each makes tfqkd's core work on one Keras. What it offers: `tfqkd.fronts.front.Front`."""

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tfqkd.fronts.front import Front
    from tfqkd.fronts.tfmot import front as tfmot

    _HAS_ALL_NAMES: Front = tfmot

FRONTS = {"tfmot": "tfqkd.fronts.tfmot.front", "keras3": "tfqkd.fronts.keras3.front"}
"""The module of each front."""


def choose(name: str = "tfmot") -> "Front":
    """Returns a front, which loads its Keras."""
    return cast("Front", importlib.import_module(FRONTS[name]))
