import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.models import cnn, resnet, vgg
from tfqkd.models.blocks import convolve_channels, hard_swish

BUILDERS = {
    "resnet": lambda shape, **kwargs: resnet(8, 10, shape, **kwargs),
    "vgg": lambda shape, **kwargs: vgg(10, shape, 0.0625, **kwargs),
    "cnn": lambda shape, **kwargs: cnn(4, 10, shape, **kwargs),
}
every_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


def pixels(shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@pytest.fixture
def float16():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@every_builder
def test_the_first_layer_standardizes_raw_pixels(build):
    mean, std = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    model = build((8, 8, 3), mean=mean, std=std)
    images = pixels((5, 8, 8, 3))
    first = keras.Model(model.input, model.get_layer("standardization").output)
    expected = (images.astype(np.float64) - mean) / std
    np.testing.assert_allclose(first(images), expected, atol=1e-5)


@every_builder
def test_standardizing_in_the_model_is_standardizing_before_it(build):
    mean, std = np.array([120.0, 110.0, 100.0]), np.array([60.0, 50.0, 70.0])
    inside, outside = build((8, 8, 3), mean=mean, std=std), build((8, 8, 3))
    outside.set_weights(inside.get_weights())
    images = pixels((5, 8, 8, 3), np.float32)
    expected = outside((images - mean) / std)
    np.testing.assert_allclose(inside(images), expected, rtol=1e-4, atol=1e-5)


@every_builder
def test_pixels_may_come_as_uint8(build):
    model = build((8, 8, 3), mean=(120.0,) * 3, std=(60.0,) * 3)
    images = pixels((5, 8, 8, 3))
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), model.predict(images.astype(np.float32), verbose=0)
    )


@every_builder
def test_outputs_are_the_linear_logits(build):
    # Doubling and shifting the last layer doubles and shifts what comes out: no softmax follows.
    model = build((8, 8, 3))
    images = pixels((5, 8, 8, 3), np.float32)
    before = model(images).numpy()
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([2 * kernel, 2 * bias - 3])
    np.testing.assert_allclose(model(images), 2 * before - 3, rtol=1e-5, atol=1e-5)
    assert before.min() < 0


@every_builder
def test_logits_and_standardization_stay_float32_under_mixed_precision(build, float16):
    mean, std = (125.3,) * 3, (63.0,) * 3
    model = build((8, 8, 3), mean=mean, std=std)
    images = pixels((2, 8, 8, 3))
    assert model(images).dtype == "float32"
    assert model.layers[-2].output.dtype == "float16"
    first = keras.Model(model.input, model.get_layer("standardization").output)
    np.testing.assert_allclose(first(images), (images - np.float64(125.3)) / 63.0, atol=1e-5)


@every_builder
def test_convolutions_have_no_bias_and_norms_those_of_the_literature(build):
    layers = build((8, 8, 3)).layers
    assert not any(layer.use_bias for layer in layers if isinstance(layer, keras.layers.Conv2D))
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.momentum, layer.epsilon) for layer in norms} == {(0.9, 1e-5)}


def test_kernels_start_with_variance_two_over_fan_in():
    keras.utils.set_random_seed(0)
    for model, name in (
        (resnet(8, 10), "stage3_block1_conv2"),
        (vgg(10, width=0.25), "stage3_conv2"),
        (vgg(10, width=0.25), "fc"),
        (cnn(32, 10), "conv3"),
    ):
        kernel = model.get_layer(name).kernel.numpy()
        np.testing.assert_allclose(kernel.var() * np.prod(kernel.shape[:-1]), 2, rtol=0.04)


@pytest.mark.parametrize("size", [3, 5])
def test_depthwise_kernels_start_with_variance_two_over_their_size(size):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 4000))
    model = keras.Model(inputs, convolve_channels(keras, inputs, "depthwise", size=size, strides=1))
    np.testing.assert_allclose(model.get_weights()[0].var() * size**2, 2, rtol=0.04)


def test_hard_swish_is_its_formula_in_both_precisions(float16):
    for dtype, tolerance in (("float32", 1e-6), ("mixed_float16", 4e-3)):
        keras.mixed_precision.set_global_policy(dtype)
        inputs = keras.Input((101,))
        model = keras.Model(inputs, hard_swish(keras, inputs, "act"))
        x = np.linspace(-5, 5, 101, dtype="float32")
        found = model(x[None])[0]
        assert found.dtype == dtype.removeprefix("mixed_")
        np.testing.assert_allclose(found, x * np.clip(x + 3, 0, 6) / 6, rtol=0, atol=tolerance)


@every_builder
def test_saved_model_standardizes_alike(build, tmp_path):
    model = build((8, 8, 3), mean=np.array([120.0] * 3), std=np.array([60.0] * 3))
    images = pixels((5, 8, 8, 3), np.float32)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"model{suffix}")
        loaded = keras.models.load_model(tmp_path / f"model{suffix}")
        np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize(
    "values",
    [
        {"mean": (1.0, 2.0, 3.0)},
        {"std": (1.0, 2.0, 3.0)},
        {"mean": (1.0,), "std": (1.0,)},
        {"mean": (1.0, 2.0, 3.0), "std": (1.0, 0.0, 3.0)},
        {"mean": 1.0, "std": 1.0},
    ],
)
def test_mean_and_std_that_do_not_fit_are_refused(values):
    with pytest.raises(ValueError, match=r"`mean` and `std` must both be given.*3 channels"):
        cnn(4, 10, (8, 8, 3), **values)


@pytest.mark.parametrize(("family", "smallest"), [("resnet", 4), ("vgg", 8), ("cnn", 2)])
def test_images_that_are_too_small_are_refused(family, smallest):
    BUILDERS[family]((smallest, smallest, 1))
    for shape in ((smallest - 1, 32, 1), (32, smallest - 1, 1)):
        with pytest.raises(ValueError, match=f"at least {smallest}x{smallest} for this network"):
            BUILDERS[family](shape)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 0), (8, 8, 3, 1)])
def test_image_shapes_other_than_hwc_are_refused(shape):
    with pytest.raises(ValueError, match="`image_shape` must be"):
        cnn(4, 10, shape)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"`classes` must be at least 2. Received: classes=1"):
        cnn(4, 1)
