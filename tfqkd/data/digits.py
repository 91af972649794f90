"""The digits that come with scikit-learn: real data that needs no download."""

import numpy as np
from sklearn.datasets import load_digits

from tfqkd.data.images import ImageData, Split
from tfqkd.data.resizing import resize

_TEST_EXAMPLES = 600


def read(image_size: int | str, centre_crop: bool = False) -> ImageData:
    """Reads the 1,797 handwritten digits of scikit-learn, 8x8 and grey.

    Their values 0..16 become pixels round(value·255/16). One fixed stratified draw leaves 1,197
    images to train on and takes 600 to test on.

    Args:
      image_size: What images are resized to, `N` or `HxW`; 0 leaves them as they are.
      centre_crop: Whether the part in the middle that has the new proportions is resized, not the whole.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype(np.uint8)[..., np.newaxis]
    stored = Split(
        np.asarray(resize(images, image_size, centre_crop)), digits.target.astype(np.int64)
    )
    test, train = stored.draw(_TEST_EXAMPLES, seed=0)
    return ImageData("digits", tuple(map(str, digits.target_names)), train, None, test)
