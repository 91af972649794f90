"""The names that networks are asked for by.

Needs no TensorFlow: flags are checked before it is imported.
"""

import re
from dataclasses import dataclass
from typing import Literal

from tfqkd.models.dimensions import (
    RESNET_FILTERS,
    VGG_FILTERS,
    check_depth,
    round_filters,
    scale_filters,
)

KNOWN = (
    "resnet<6n+2> (resnet20, resnet32, resnet56, ...), "
    "wrn<6n+2>x<width> (wrn20x1.7, wrn20x5, ...), "
    "vgg7 or vgg7x<width> (vgg7x0.5, ...), cnn<filters> (cnn4, cnn32, ...), vit<blocks>x<width> (vit4x64, "
    "...), and, with _<width> or without, "
    "resnet18, resnet34, resnet8_mlperf, mobilenetv2 (mobilenetv2_0.5, ...), mobilenetv3_small, "
    "mobilenetv3_large, efficientnet_lite<0-4>; applications:<name in keras.applications> "
    "(applications:MobileNetV2, ...)"
)
APPLICATIONS = {
    **dict.fromkeys(
        (
            *("MobileNet", "MobileNetV2", "NASNetMobile", "InceptionV3", "InceptionResNetV2"),
            *("Xception", "ResNet50V2", "ResNet101V2", "ResNet152V2"),
        ),
        "symmetric",
    ),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), "standardized"),
    **dict.fromkeys(
        (
            *("MobileNetV3Small", "MobileNetV3Large"),
            *(f"EfficientNetB{number}" for number in range(8)),
            *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
        ),
        "inside",
    ),
}
"""The networks of `keras.applications` that take RGB pixels, and how they want them: scaled from -1 to 1,
standardized by the channels of ImageNet, or as they are: these networks scale them themselves."""
Family = Literal[
    "resnet",
    "vgg",
    "cnn",
    "imagenet_resnet",
    "vit",
    "resnet8_mlperf",
    "mobilenetv2",
    "mobilenetv3_small",
    "mobilenetv3_large",
    "efficientnet_lite",
    "applications",
]
_NUMBER = r"[1-9][0-9]{0,5}"
_WIDTH = rf"(?P<width>(?:0|{_NUMBER})(?:\.[0-9]+)?)"
_NAMES: tuple[tuple[Family, str], ...] = (
    ("imagenet_resnet", rf"resnet(?P<depth>18|34)(?:_{_WIDTH})?"),
    ("resnet", rf"resnet(?P<depth>{_NUMBER})"),
    ("resnet", rf"wrn(?P<depth>{_NUMBER})x{_WIDTH}"),
    ("vgg", rf"vgg(?P<depth>7)(?:x{_WIDTH})?"),
    ("cnn", rf"cnn(?P<width>{_NUMBER})"),
    ("vit", rf"vit(?P<depth>{_NUMBER})x(?P<width>{_NUMBER})"),
    ("resnet8_mlperf", rf"resnet(?P<depth>8)_mlperf(?:_{_WIDTH})?"),
    ("mobilenetv2", rf"mobilenetv2(?:_{_WIDTH})?"),
    ("mobilenetv3_small", rf"mobilenetv3_small(?:_{_WIDTH})?"),
    ("mobilenetv3_large", rf"mobilenetv3_large(?:_{_WIDTH})?"),
    ("efficientnet_lite", rf"efficientnet_lite(?P<depth>[0-4])(?:_{_WIDTH})?"),
    ("applications", rf"applications:(?P<application>{'|'.join(APPLICATIONS)})"),
)


@dataclass(frozen=True)
class Architecture:
    """What a name stands for.

    Attributes:
      family: The builder: the function of this name in `tfqkd.models`, `mobilenetv3` for both of its sizes.
      depth: Layers with weights of a ResNet, VGG or CNN; blocks of a vit; the number of an
        EfficientNet-Lite; 0 for a MobileNet or an application, which have one depth.
      width: Multiplier of the filters; filters of the first layer of a CNN; width of a vit's tokens.
      application: The name in `keras.applications`, of that family alone.
    """

    family: Family
    depth: int
    width: float
    application: str = ""


def named(network: str, width: float) -> str:
    """Returns the name of a network that is `width` times as wide as the one of this name."""
    return network if width == 1 else f"{network}_{width:g}"


def parse(name: str) -> Architecture:
    """Reads the name of a network.

    Args:
      name: Such as `resnet20`, `wrn20x1.7`, `vgg7`, `vgg7x0.5`, `cnn32` or `mobilenetv2_0.5`.

    Returns:
      Its family, depth and width.

    Raises:
      ValueError: If there is no such network.

    Example:
      >>> parse("wrn20x1.7")
      Architecture(family='resnet', depth=20, width=1.7)
    """
    for family, pattern in _NAMES:
        if match := re.fullmatch(pattern, name):
            groups = match.groupdict()
            depth = int(groups.get("depth") or (4 if family == "cnn" else 0))
            width = float(groups.get("width") or 1)
            return _checked(Architecture(family, depth, width, groups.get("application") or ""))
    raise ValueError(
        f"The name of a network must be one of: {KNOWN}. Received: {name!r}. Choose one of these."
    )


def _checked(architecture: Architecture) -> Architecture:
    if architecture.family == "resnet":
        check_depth(architecture.depth)
    if architecture.family in ("resnet", "imagenet_resnet", "resnet8_mlperf"):
        scale_filters(RESNET_FILTERS[0], architecture.width)
    elif architecture.family == "vgg":
        scale_filters(VGG_FILTERS[0], architecture.width)
    else:
        round_filters(RESNET_FILTERS[0], architecture.width)
    return architecture
