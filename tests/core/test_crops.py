import numpy as np
import pytest
from scipy import stats

from tfqkd.core.crops import RandomBoxes, random_flips

COUNT = 20_000
EXAMPLES = np.arange(COUNT)
HEIGHT, WIDTH = 480, 640


def boxes_of(key, epoch, examples=EXAMPLES, **limits):
    boxes = RandomBoxes(key, epoch, examples, **limits)
    return np.array([boxes.fit(index, HEIGHT, WIDTH) for index in range(len(examples))])


def test_boxes_lie_in_their_image_with_shares_and_ratios_as_asked():
    top, left, height, width = boxes_of(7, 3).T
    assert min(top.min(), left.min()) >= 0 and height.min() > 0
    assert (top + height <= 480).all() and (left + width <= 640).all()
    share, ratio = height * width / (480 * 640), width / height
    assert share.min() > 0.079 and share.max() <= 1
    # Rounding to whole pixels moves the ratio by at most a per cent.
    assert ratio.min() > 0.74 and ratio.max() < 1.35
    # Where every box fits at once, the definition holds: uniform shares, and ratios uniform in the log.
    boxes = boxes_of(7, 3, area=(0.1, 0.4)).T
    share, ratio = boxes[2] * boxes[3] / (480 * 640), boxes[3] / boxes[2]
    assert stats.kstest(share, stats.uniform(0.1, 0.3).cdf).pvalue > 0.01
    logs = stats.uniform(np.log(3 / 4), np.log(16 / 9))
    assert stats.kstest(np.log(ratio), logs.cdf).pvalue > 0.001
    places = (boxes[0] + 0.5) / (480 - boxes[2] + 1)
    assert stats.kstest(places, "uniform").pvalue > 0.001


def test_an_image_in_which_no_box_fits_gives_the_largest_in_its_middle():
    boxes = RandomBoxes(0, 0, [0, 1], area=(1.0, 1.0))
    assert boxes.fit(0, 10, 1000) == (0, 493, 10, 13)
    assert boxes.fit(1, 1000, 10) == (493, 0, 13, 10)


def test_what_is_drawn_depends_on_seed_epoch_and_example_alone():
    whole = boxes_of(7, 3)
    some = np.array([17, 4, 3999])
    np.testing.assert_array_equal(boxes_of(7, 3, some), whole[some])
    np.testing.assert_array_equal(random_flips(7, 3, some), random_flips(7, 3, EXAMPLES)[some])
    for key, epoch in ((8, 3), (7, 4)):
        other = boxes_of(key, epoch)
        assert (other == whole).all(axis=1).mean() < 0.01
        correlation = np.corrcoef(whole[:, 0], other[:, 0])[0, 1]
        assert abs(correlation) < 4 / COUNT**0.5


def test_half_of_the_images_are_mirrored():
    assert random_flips(7, 3, EXAMPLES).mean() == pytest.approx(0.5, abs=0.015)
