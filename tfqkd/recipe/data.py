"""Settings of the data set and of its augmentation."""

import dataclasses

from tfqkd.data.sizing import plain_size
from tfqkd.recipe.setting import Rule, at_least, between, setting

AUTO_STREAM = "auto"


def _is_size(size: int | str) -> bool:
    try:
        plain = plain_size(size)
    except ValueError:
        return False
    return isinstance(plain, str) or plain >= 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What is trained and measured on."""

    dataset: str = setting(
        "cifar10",
        "Data set: digits (embedded), folder:PATH (PATH/train/CLASS/*.png and PATH/test/CLASS/*.png, or "
        "PATH/CLASS/*.png), arrays:FILE.npz, or the name of a TFDS image classification set, such as "
        "cifar10 or cifar100.",
    )
    dir: str = setting(
        "", "Where TFDS data sets are; TFDS's own default if empty.", changes_result=False
    )
    download: bool = setting(
        False, "Let TFDS download a data set that is not there.", changes_result=False
    )
    validation_split: float = setting(
        0.0,
        "Share of the training images, 0 to 0.5, held back and measured after every epoch. The test images "
        "are never used to choose anything.",
        rule=between(0, 0.5),
    )
    train_examples: int = setting(
        0,
        "Train on a fixed subset of this many images, drawn by class; 0 for all.",
        rule=at_least(0),
    )
    image_size: int | str = setting(
        0,
        "Resize images to this height and width in pixels, or to HEIGHTxWIDTH such as 24x32; 0 keeps theirs.",
        rule=Rule("0 or more pixels, or HEIGHTxWIDTH such as 24x32", _is_size),
        form=plain_size,
    )
    centre_crop: bool = setting(
        False, "Resize the part in the middle that has the new proportions, not the whole image."
    )
    stream: str = setting(
        AUTO_STREAM,
        "Whether images are read from the disk when they are asked for (on) or held in memory (off); auto "
        "holds them where they take at most half of what is available. Order and views are the same.",
        choices=(AUTO_STREAM, "on", "off"),
        changes_result=False,
    )
    crop_padding: int = setting(
        4,
        "Crop training images at random after padding every side by this many pixels; 0 for none. It has "
        "no effect with --data.resized_crop.",
        rule=at_least(0),
    )
    resized_crop: bool = setting(
        False,
        "Train on random parts of the stored images, of 8 to 100 % of their area and proportions from 3:4 to "
        "4:3, resized.",
    )
    flip: bool = setting(True, "Mirror a random half of the training images.")
    operations: int = setting(
        0,
        "RandAugment: change training images by this many random operations each; 0 for none, 2 is usual.",
        rule=at_least(0),
    )
    magnitude: int = setting(
        9, "How strong the operations of --data.operations are.", rule=between(0, 30)
    )
    mixup: float = setting(
        0.0,
        "Mix each training image and its label with another one's of the batch, by shares of Beta(α, α) with "
        "this α; 0 for none, 0.2 is usual.",
        rule=at_least(0),
    )
