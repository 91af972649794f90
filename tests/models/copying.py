"""Networks of Keras' own applications, as an independent word on what ours compute."""

import numpy as np

from tfqkd.compat import keras


def randomize(model: keras.Model) -> None:
    """Gives norms and biases values that they do not start with."""
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies layer by layer in order; a 1x1 convolution fits a dense layer."""
    pairs = [
        [layer for layer in model.layers if layer.weights and layer.name != "normalization"]
        for model in (source, target)
    ]
    for one, other in zip(*pairs, strict=True):
        values = zip(one.get_weights(), other.get_weights(), strict=True)
        other.set_weights([value.reshape(place.shape) for value, place in values])
        assert {value.size for value in one.get_weights()} == {
            value.size for value in other.get_weights()
        }


def assert_same_function(published: keras.Model, ours: keras.Model, scale: float = 1.0) -> None:
    """Checks parameters and, with the same weights, outputs; `published` takes `scale` times the pixels."""
    randomize(published)
    copy_weights(published, ours)
    images = np.random.default_rng(1).uniform(0, 255, (2, *ours.input_shape[1:])).astype("float32")
    expected = published(images * scale, training=False).numpy()
    assert expected.std() > 1e-3 * np.abs(expected).max()
    found = ours(images, training=False).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
