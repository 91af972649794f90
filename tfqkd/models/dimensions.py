"""The depths and widths that networks may have. Needs no TensorFlow."""

RESNET_FILTERS = (16, 32, 64)
VGG_FILTERS = (128, 256, 512)
IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def check_depth(depth: int) -> int:
    """Returns the depth of a ResNet for small images if it is 6n+2.

    Raises:
      ValueError: If it is not.
    """
    if depth < 8 or depth % 6 != 2:
        lower = max(8, (depth - 2) // 6 * 6 + 2)
        raise ValueError(
            "The depth of a ResNet must be 6n+2: a stem, three stages of n blocks of two layers, "
            f"and the logits. Received: depth={depth}. Use {lower} or {lower + 6}."
        )
    return depth


def scale_filters(filters: int, width: float) -> int:
    """Returns `filters` times `width`, rounded to the nearest integer.

    Raises:
      ValueError: If no filter is left.
    """
    scaled = round(filters * width)
    if scaled < 1:
        raise ValueError(
            f"The width of a network must leave at least one of {filters} filters. "
            f"Received: width={width}. Use a width above {0.5 / filters:g}."
        )
    return scaled


def round_filters(filters: float, width: float = 1.0) -> int:
    """Returns `filters` times `width` as a multiple of 8: the nearest (of two the larger) of 90 % or more.

    Source: `_make_divisible` of the published MobileNets.

    Raises:
      ValueError: If the width is not above 0.
    """
    if width <= 0:
        raise ValueError(
            f"The width of a network must be above 0. Received: width={width}. Use e.g. 0.5."
        )
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
