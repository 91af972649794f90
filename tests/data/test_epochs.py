import numpy as np
import pytest

from tfqkd.data.augmentation import Augmentation
from tfqkd.data.epochs import Epochs
from tfqkd.data.images import Split
from tfqkd.data.padded import show
from tfqkd.fronts.tfmot.batches import training_batches

CLASSES = 3


def split():
    images = np.random.default_rng(0).integers(1, 255, (11, 5, 4, 2), dtype=np.uint8)
    return Split(images, np.arange(11) % CLASSES)


def test_a_view_is_a_crop_of_the_padded_image_and_perhaps_its_mirror():
    images, padding = split().images, 2
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    for view in range(50):
        flip, cell = divmod(view, 25)
        crop = padded[:, cell // 5 :, cell % 5 :][:, :5, :4]
        expected = crop[:, :, ::-1] if flip else crop
        np.testing.assert_array_equal(show(images, np.full(11, view), padding), expected)


@pytest.mark.parametrize(
    "augmentation", [Augmentation(1), Augmentation(2, False), Augmentation.NONE]
)
@pytest.mark.parametrize("fixed_views", [0, 2])
def test_the_batches_are_those_of_tf_data(augmentation, fixed_views):
    logits = [np.random.default_rng(v).normal(size=(11, CLASSES)) for v in range(fixed_views)]
    logits = [each.astype(np.float16) for each in logits]
    settings = {"batch_size": 4, "classes": CLASSES, "seed": 77, "augmentation": augmentation}
    settings |= {"fixed_views": fixed_views, "teacher_logits": logits}
    stream = training_batches(split(), epochs=3, **settings)
    ours = Epochs(split(), **settings)
    batches = [batch for epoch in range(3) for batch in ours.of(epoch)]
    for theirs, (x, y) in zip(stream, batches, strict=True):
        np.testing.assert_array_equal(theirs[1], y)
        shown = theirs[0] if fixed_views else (theirs[0],)
        for one, other in zip(shown, x if fixed_views else (x,), strict=True):
            np.testing.assert_array_equal(one, other)
