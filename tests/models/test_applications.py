import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.models import application, build
from tfqkd.models.names import APPLICATIONS

SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A base whose weights are no initial ones, and the file of its weights."""
    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNet(
        input_shape=SHAPE, include_top=False, weights=None, pooling="avg"
    )
    generator = np.random.default_rng(0)
    for weight in base.weights:
        weight.assign(weight + np.abs(generator.normal(0, 0.05, weight.shape)))
    file = tmp_path_factory.mktemp("weights") / "base_no_top.h5"
    base.save_weights(file)
    return base, file


def test_a_network_has_the_weights_of_the_file_and_takes_raw_pixels(trained):
    base, file = trained
    model = build("applications:MobileNet", SHAPE, 4, mean=[1] * 3, std=[2] * 3, weights=file)
    pixels = np.random.default_rng(1).integers(0, 256, (3, *SHAPE)).astype(np.float32)
    features = base(keras.applications.mobilenet.preprocess_input(pixels.copy()))
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(
        model(pixels), features.numpy() @ kernel + bias, rtol=1e-4, atol=1e-4
    )
    assert model.get_layer("conv1").kernel.shape[-1] == 32
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)


def test_a_file_of_another_network_is_refused(trained):
    _, file = trained
    with pytest.raises(ValueError, match=r"file of MobileNetV3Small without its top.*no_top"):
        application("MobileNetV3Small", 4, SHAPE, weights=file)
    with pytest.raises(ValueError, match=r"`weights` belongs to networks of keras\.applications"):
        build("cnn4", SHAPE, 4, weights=file)
    with pytest.raises(ValueError, match=r"`name` must be one of MobileNet, .*name='VGG16'"):
        application("VGG16", 4, SHAPE)
    with pytest.raises(ValueError, match="at least 32x32"):
        application("MobileNet", 4, (16, 16, 3))


def test_every_network_is_one_of_keras():
    assert all(callable(getattr(keras.applications, name)) for name in APPLICATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DenseNet121", "EfficientNetV2B0", "MobileNetV3Small"])
def test_preprocessing_is_that_of_keras(name):
    keras.utils.set_random_seed(0)
    base = getattr(keras.applications, name)(
        input_shape=SHAPE, include_top=False, weights=None, pooling="avg"
    )
    model = application(name, 4, SHAPE)
    own = [layer for layer in model.layers if layer.name != "logits"]
    for mine, theirs in zip(
        [layer for layer in own if layer.weights and layer.name != "normalization"],
        [layer for layer in base.layers if layer.weights and layer.name != "normalization"],
        strict=False,
    ):
        mine.set_weights(theirs.get_weights())
    pixels = np.random.default_rng(1).integers(0, 256, (3, *SHAPE)).astype(np.float32)
    module = {
        "DenseNet121": keras.applications.densenet,
        "EfficientNetV2B0": keras.applications.efficientnet_v2,
        "MobileNetV3Small": keras.applications.mobilenet_v3,
    }[name]
    features = base(module.preprocess_input(pixels.copy()))
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(
        model(pixels), features.numpy() @ kernel + bias, rtol=1e-3, atol=1e-4
    )
