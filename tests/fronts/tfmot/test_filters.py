import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.fronts.tfmot.filters import chains, dropped, without_filters
from tfqkd.models import build

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)


def random_model(name):
    model = build(name, (8, 8, 1), 5, mean=[120.0], std=[60.0])
    generator = np.random.default_rng(1)
    for weight in model.weights:
        if "standardization" not in weight.name:
            weight.assign(generator.uniform(0.2, 1.0, weight.shape) * generator.choice([-1, 1]))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance))
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(generator.normal(size=layer.kernel.shape))
    return model


@pytest.mark.parametrize(
    ("name", "firsts"),
    [
        ("cnn4", ["conv1", "conv2", "conv3"]),
        ("resnet8", ["stage1_block1_conv1", "stage2_block1_conv1", "stage3_block1_conv1"]),
    ],
)
def test_the_narrower_model_says_what_the_masked_one_says(name, firsts):
    model = random_model(name)
    found = chains(model)
    assert [chain.first.name for chain in found] == firsts
    narrow = without_filters(model, 0.5)
    for chain in found:
        gone = dropped(chain, 0.5)
        assert len(gone) == chain.first.filters // 2
        assert narrow.get_layer(chain.first.name).filters == chain.first.filters - len(gone)
        kernel = chain.first.kernel.numpy()
        sizes = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)
        assert sizes[gone].max() <= np.delete(sizes, gone).min()
        for layer in (chain.first, *chain.between):
            for weight in layer.weights:
                if "moving" not in weight.name:
                    value = weight.numpy()
                    value[..., gone] = 0
                    weight.assign(value)
    assert narrow.count_params() < 0.65 * model.count_params()
    expected = model(IMAGES, training=False).numpy()
    np.testing.assert_allclose(
        narrow(IMAGES, training=False), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


def test_what_others_read_stays_whole():
    image = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(4, 3, activation="tanh", name="bent")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", name="read_twice")(maps)
    x = keras.layers.Add()([x, keras.layers.ReLU()(x)])
    flat = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, name="flattened")(x))
    model = keras.Model(image, keras.layers.Dense(2)(flat))
    assert chains(model) == []
    with pytest.raises(ValueError, match="which has none"):
        without_filters(model, 0.5)
    with pytest.raises(ValueError, match="`share` must be in"):
        without_filters(model, 1.0)


def test_what_also_reads_others_loses_no_inputs():
    """A layer that is called twice would lose the same channels of both."""
    image = keras.Input((8, 8, 1))
    shared = keras.layers.Dense(2, name="shared")
    maps = [keras.layers.Conv2D(4, 3, name=name)(image) for name in ("one", "other")]
    model = keras.Model(image, keras.layers.Add()([shared(each) for each in maps]))
    assert chains(model) == []


def test_no_share_is_a_copy():
    model = random_model("cnn4")
    copy = without_filters(model, 0.0)
    np.testing.assert_array_equal(copy(IMAGES), model(IMAGES))
