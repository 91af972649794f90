"""Whole filters taken out: what is left says what the masked model says."""

import keras
import numpy as np
import pytest

from tests.fronts.keras3.inside.nets import array, outputs
from tfqkd.fronts import choose
from tfqkd.fronts.keras3.filters import without_filters
from tfqkd.methods.filters import Filters
from tfqkd.models import build

FRONT = choose("keras3")
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)


def random_model(name):
    model = build(name, (8, 8, 1), 5, mean=[120.0], std=[60.0], keras=keras)
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            drawn = [generator.uniform(0.2, 1.0, weight.shape) for weight in layer.weights]
            layer.set_weights([drawn[0] - 0.5, drawn[1] - 0.5, *drawn[2:]])
        elif layer.weights and not isinstance(layer, keras.layers.Normalization):
            layer.set_weights([generator.normal(size=weight.shape) for weight in layer.weights])
    return model


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("cnn4", [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")]),
        pytest.param(
            "resnet8",
            [(f"stage{n}_block1_conv1", f"stage{n}_block1_bn1") for n in (1, 2, 3)],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_narrower_model_says_what_the_masked_one_says(name, blocks):
    model = random_model(name)
    model.get_layer(blocks[0][0]).trainable = False
    narrow = without_filters(model, 0.5)
    for first, norm in blocks:
        convolution = model.get_layer(first)
        sizes = np.linalg.norm(array(convolution.kernel).reshape(-1, convolution.filters), axis=0)
        gone = np.argsort(sizes)[: convolution.filters // 2]
        assert narrow.get_layer(first).filters == convolution.filters - len(gone)
        for layer in (convolution, model.get_layer(norm)):
            weights = layer.get_weights()
            for weight in weights[:2]:
                weight[..., gone] = 0
            layer.set_weights(weights)
    assert not narrow.get_layer(blocks[0][0]).trainable
    assert narrow.count_params() < 0.65 * model.count_params()
    expected = outputs(model, IMAGES)
    np.testing.assert_allclose(
        outputs(narrow, IMAGES), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


def test_what_others_read_stays_whole():
    image = keras.Input((8, 8, 1))
    shared = keras.layers.Dense(2, name="shared")
    twice = [shared(keras.layers.Conv2D(4, 3, padding="same")(image)) for _ in range(2)]
    maps = keras.layers.Conv2D(4, 3, activation="tanh")(image)
    x = keras.layers.Conv2D(4, 3, padding="same")(maps)
    flat = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(x + keras.ops.relu(x)))
    model = keras.Model(image, [keras.layers.Dense(2)(flat), *twice])
    with pytest.raises(ValueError, match="which has none"):
        without_filters(model, 0.5)
    with pytest.raises(ValueError, match="`share` must be in"):
        without_filters(model, 1.0)


@pytest.mark.slow
def test_a_stage_may_begin_without_its_weakest_filters():
    model = FRONT.build("cnn4", (8, 8, 1), 5, mean=[120.0], std=[60.0], seed=1)
    narrow = Filters(share=0.25).model(FRONT, model)
    assert [narrow.get_layer(f"conv{n}").filters for n in (1, 2, 3)] == [3, 6, 6]
    copy = Filters(share=0.0).model(FRONT, model)
    np.testing.assert_array_equal(outputs(copy, IMAGES), outputs(model, IMAGES))
