import pytest

from tfqkd.compat import keras
from tfqkd.models import mobilenetv2, mobilenetv3

from . import copying

applications = keras.applications


@pytest.mark.parametrize("width", [0.5, pytest.param(1.4, marks=pytest.mark.slow)])
def test_mobilenetv2_is_that_of_keras(width):
    published = applications.MobileNetV2(
        (96, 96, 3), width, weights=None, classes=7, classifier_activation=None
    )
    ours = mobilenetv2(7, (96, 96, 3), width)
    assert ours.count_params() == published.count_params()
    copying.assert_same_function(published, ours)


@pytest.mark.parametrize(
    ("size", "width"),
    [
        ("small", 1.0),
        pytest.param("large", 0.75, marks=pytest.mark.slow),
        pytest.param("small", 1.25, marks=pytest.mark.slow),
        pytest.param("large", 1.25, marks=pytest.mark.slow),
    ],
)
def test_mobilenetv3_is_that_of_keras(size, width):
    make = {"small": applications.MobileNetV3Small, "large": applications.MobileNetV3Large}[size]
    published = make((64, 64, 3), width, weights=None, classes=7, classifier_activation=None)
    ours = mobilenetv3(size, 7, (64, 64, 3), width, mean=[127.5] * 3, std=[127.5] * 3)
    assert ours.count_params() == published.count_params()
    copying.assert_same_function(published, ours)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"`size` must be small or large\. Received: size='big'"):
        mobilenetv3("big", 10)


@pytest.mark.parametrize("width", [0, -1])
def test_widths_that_are_not_positive_are_refused(width):
    with pytest.raises(ValueError, match=f"must be above 0. Received: width={width}"):
        mobilenetv2(10, width=width)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="at least 8x8 for this network"):
        mobilenetv2(10, (7, 8, 3))
