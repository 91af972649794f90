import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.models.dimensions import round_filters
from tfqkd.models.inverted import Block, End, extract

BLOCKS = [Block(8, strides, 3, 1) for strides in (1, 2, 2, 2, 1, 2)]


def extractor(shape, blocks=BLOCKS):
    inputs = keras.Input(shape)
    return keras.Model(inputs, extract(keras, inputs, End(16), blocks, End(24)))


@pytest.mark.parametrize(
    ("side", "features"), [(8, 1), (28, 4), (32, 4), (63, 8), (64, 2), (96, 3), (224, 7)]
)
def test_images_under_64_pixels_keep_four_times_their_size(side, features):
    model = extractor((side, side, 1))
    assert model.get_layer("pool").input.shape[1:] == (features, features, 24)


def test_the_smaller_side_counts():
    assert extractor((32, 96, 1)).get_layer("pool").input.shape[1:3] == (4, 12)


def test_small_images_change_the_first_two_strides_alone():
    small, large = extractor((32, 32, 1)), extractor((64, 64, 1))
    assert [w.shape for w in small.weights] == [w.shape for w in large.weights]
    strides = {
        layer.name: (layer.strides[0], large.get_layer(layer.name).strides[0])
        for layer in small.layers
        if getattr(layer, "strides", None)
    }
    differing = {name: pair for name, pair in strides.items() if pair[0] != pair[1]}
    assert differing == {"stem_conv": (1, 2), "block2_depthwise": (1, 2)}


def test_a_block_that_keeps_size_and_channels_is_added_to_its_input():
    names = [layer.name for layer in extractor((64, 64, 1)).layers if "_add" in layer.name]
    assert names == ["block5_add"]


def test_squeeze_and_excitation_weighs_channels_by_their_mean():
    model = extractor((64, 64, 3), [Block(8, 2, 3, 2, squeeze=True), *BLOCKS[1:]])
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.uniform(-0.5, 1.5, variable.shape))
    layer = model.get_layer("block1_squeeze")
    before = model.get_layer("block1_depthwise_act").output
    x, found = keras.Model(model.input, [before, layer.output])(
        generator.uniform(0, 1, (2, 64, 64, 3)).astype("float32")
    )
    reduce, expand = (
        [
            values.astype("float64")
            for values in model.get_layer(f"block1_squeeze_{name}").get_weights()
        ]
        for name in ("reduce", "expand")
    )
    assert reduce[0].shape == (1, 1, 32, 8)
    hidden = np.maximum(x.numpy().mean((1, 2)) @ reduce[0][0, 0] + reduce[1], 0)
    gate = np.clip(hidden @ expand[0][0, 0] + expand[1] + 3, 0, 6) / 6
    np.testing.assert_allclose(found, x.numpy() * gate[:, None, None], rtol=1e-4, atol=1e-5)


def test_filters_are_the_nearest_multiple_of_8_that_is_90_per_cent_or_more():
    for filters in range(1, 400):
        allowed = [number for number in range(8, 416, 8) if number >= 0.9 * filters]
        nearest = min(allowed, key=lambda number: (abs(number - filters), -number))
        assert round_filters(filters) == nearest
