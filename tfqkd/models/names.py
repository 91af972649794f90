"""The names that networks are asked for by.

Needs no TensorFlow: flags are checked before it is imported.
"""

import re
from dataclasses import dataclass
from typing import Literal

from tfqkd.models.dimensions import RESNET_FILTERS, VGG_FILTERS, check_depth, scale_filters

KNOWN = (
    "resnet<6n+2> (resnet20, resnet32, resnet56, ...), "
    "wrn<6n+2>x<width> (wrn20x1.7, wrn20x5, ...), "
    "vgg7 or vgg7x<width> (vgg7x0.5, ...), cnn<filters> (cnn4, cnn32, ...)"
)
_NUMBER = r"[1-9][0-9]{0,5}"
_WIDTH = rf"(?:0|{_NUMBER})(?:\.[0-9]+)?"


@dataclass(frozen=True)
class Architecture:
    """What a name stands for.

    Attributes:
      family: The builder: `tfqkd.models.resnet`, `vgg` or `cnn`.
      depth: Layers with weights, as its name counts them; 4 for a CNN.
      width: Multiplier of the filters of a ResNet or VGG; filters of the first layer of a CNN.
    """

    family: Literal["resnet", "vgg", "cnn"]
    depth: int
    width: float


def parse(name: str) -> Architecture:
    """Reads the name of a network.

    Args:
      name: Such as `resnet20`, `wrn20x1.7`, `vgg7`, `vgg7x0.5` or `cnn32`.

    Returns:
      Its family, depth and width.

    Raises:
      ValueError: If there is no such network.

    Example:
      >>> parse("wrn20x1.7")
      Architecture(family='resnet', depth=20, width=1.7)
    """
    if match := re.fullmatch(rf"resnet({_NUMBER})", name):
        return Architecture("resnet", check_depth(int(match[1])), 1.0)
    if match := re.fullmatch(rf"wrn({_NUMBER})x({_WIDTH})", name):
        scale_filters(RESNET_FILTERS[0], float(match[2]))
        return Architecture("resnet", check_depth(int(match[1])), float(match[2]))
    if match := re.fullmatch(rf"vgg7(?:x({_WIDTH}))?", name):
        width = float(match[1] or 1)
        scale_filters(VGG_FILTERS[0], width)
        return Architecture("vgg", 7, width)
    if match := re.fullmatch(rf"cnn({_NUMBER})", name):
        return Architecture("cnn", 4, float(match[1]))
    raise ValueError(
        f"The name of a network must be one of: {KNOWN}. Received: {name!r}. Choose one of these."
    )
