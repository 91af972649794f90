import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.models import vgg


def expected_parameters(filters, units, side, classes):
    total, previous = 0, 3
    for stage in filters:
        total += 9 * previous * stage + 9 * stage**2 + 4 * stage
        previous = stage
    total += previous * (side // 8) ** 2 * units + 2 * units
    return total + units * classes + classes


@pytest.mark.parametrize(
    ("width", "filters", "units", "side", "classes"),
    [
        (1, (128, 256, 512), 1024, 32, 10),
        (0.25, (32, 64, 128), 256, 32, 100),
        (0.3, (38, 77, 154), 307, 28, 10),
    ],
)
def test_parameters_are_the_closed_form(width, filters, units, side, classes):
    model = vgg(classes, (side, side, 3), width)
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == expected_parameters(filters, units, side, classes)


def test_layers_are_in_the_order_of_the_paper():
    kinds = {"Conv2D": "C", "MaxPooling2D": "MP", "Dense": "FC"}
    letters = [kinds.get(type(layer).__name__) for layer in vgg(10, width=0.0625).layers]
    assert "-".join(filter(None, letters)) == "C-C-MP-C-C-MP-C-C-MP-FC-FC"


def test_every_layer_but_the_logits_is_normalized_and_rectified():
    layers = vgg(10, width=0.0625).layers
    for layer, norm, relu in zip(layers, layers[1:], layers[2:], strict=False):
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)) and layer.name != "logits":
            assert isinstance(norm, keras.layers.BatchNormalization)
            assert isinstance(relu, keras.layers.ReLU)
