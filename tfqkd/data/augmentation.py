"""How training images are varied: crops, flips, random operations, mixtures.

By default that of He et al., Deep Residual Learning (arXiv 1512.03385), section 4.2: zero padding on each
side, a crop of the original size, a mirror image every other time.
"""

from dataclasses import dataclass
from typing import ClassVar

MAGNITUDES = 31
"""RandAugment's magnitudes are 0 to 30."""


@dataclass(frozen=True)
class Augmentation:
    """How a training image is varied.

    Attributes:
      padding: Zero pixels added on each side before the image is cropped back to its size.
      flip: Whether every other view, at random, is mirrored left to right.
      resized_crop: Whether a random part of the image as it is stored is resized instead (arXiv 1409.4842):
        8 to 100 % of its area, of proportions from 3:4 to 4:3.
      operations: How many random operations of RandAugment (arXiv 1909.13719) follow one another; 0 for none.
      magnitude: How strong they are, 0 to 30.
      mixup: α of Beta(α, α), from which the share of an image in its mixture with another one of the batch is
        drawn (arXiv 1710.09412), as for its label; 0 for no mixtures.

    Raises:
      ValueError: If a number is out of its range, or padding is asked for where parts are resized.
    """

    padding: int = 4
    flip: bool = True
    resized_crop: bool = False
    operations: int = 0
    magnitude: int = 9
    mixup: float = 0.0

    NONE: ClassVar["Augmentation"]

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(
                "`padding` must be a number of pixels. "
                f"Received: padding={self.padding}. Use 0 for no random crops."
            )
        if self.padding and self.resized_crop:
            raise ValueError(
                "`padding` must be 0 where random parts are resized. "
                f"Received: padding={self.padding}, resized_crop=True. Choose one of both."
            )
        if self.operations < 0 or not 0 <= self.magnitude < MAGNITUDES:
            raise ValueError(
                f"`operations` must be 0 or more, and `magnitude` 0 to {MAGNITUDES - 1}. Received: "
                f"operations={self.operations}, magnitude={self.magnitude}. 2 and 9 are usual."
            )
        if not 0 <= self.mixup < float("inf"):
            raise ValueError(
                "`mixup` must be 0 or more and finite. "
                f"Received: mixup={self.mixup}. 0.2 is usual, 0 is none."
            )

    @property
    def is_plain(self) -> bool:
        """Whether it is made of crops behind padding and of flips alone."""
        return not (self.resized_crop or self.operations or self.mixup)

    @property
    def views(self) -> int:
        """Number of different views by padding and flips, 162 with the defaults."""
        return (2 * self.padding + 1) ** 2 * (1 + self.flip)


Augmentation.NONE = Augmentation(padding=0, flip=False)
