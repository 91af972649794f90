"""How training images are varied: random crops and flips.

The augmentation of He et al., Deep Residual Learning (arXiv 1512.03385), section 4.2: zero
padding on each side, a crop of the original size, a mirror image every other time.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Augmentation:
    """How a training image is varied.

    Attributes:
      padding: Zero pixels added on each side before the image is cropped back to its size.
      flip: Whether every other view, at random, is mirrored left to right.

    Raises:
      ValueError: If `padding` is negative.
    """

    padding: int = 4
    flip: bool = True

    NONE: ClassVar["Augmentation"]

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(
                "`padding` must be a number of pixels. "
                f"Received: padding={self.padding}. Use 0 for no random crops."
            )

    @property
    def views(self) -> int:
        """Number of different views of an image, 162 with the defaults."""
        return (2 * self.padding + 1) ** 2 * (1 + self.flip)


Augmentation.NONE = Augmentation(padding=0, flip=False)
