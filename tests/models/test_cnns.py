import numpy as np
import pytest

from tfqkd.models import cnn


@pytest.mark.parametrize(
    ("width", "classes", "shape"),
    [(4, 10, (8, 8, 1)), (32, 10, (28, 28, 1)), (8, 100, (32, 32, 3))],
)
def test_parameters_are_the_closed_form(width, classes, shape):
    convolutions = 9 * (shape[-1] * width + width * 2 * width + (2 * width) ** 2)
    norms = 2 * (width + 2 * width + 2 * width)
    model = cnn(width, classes, shape)
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == convolutions + norms + 2 * width * classes + classes


def test_the_second_convolution_halves_the_image():
    model = cnn(4, 10)
    shapes = [model.get_layer(f"relu{layer}").output.shape[1:] for layer in (1, 2, 3)]
    assert shapes == [(8, 8, 4), (4, 4, 8), (4, 4, 8)]


def test_no_filters_are_refused():
    with pytest.raises(ValueError, match="Received: width=0"):
        cnn(0, 10)
