import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.insertion import insert_behind
from tfqkd.fronts.tfmot.layers import ActivationQuantization

layers = keras.layers
DATA = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def doubled(name):
    return layers.Rescaling(2.0, name=f"{name}_twice")


def test_every_reader_of_a_layer_reads_the_new_one():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="a")(inputs)
    y = layers.Dense(4, name="b")(x)
    model = keras.Model(inputs, [layers.Add(name="sum")([x, y]), x])
    changed = insert_behind(model, {"a": doubled("a")})
    a = model.get_layer("a")(DATA)
    b = model.get_layer("b")(2 * a)
    assert [weight.name for weight in changed.weights] == [w.name for w in model.weights]
    for actual, expected in zip(changed(DATA), [2 * a + b, 2 * a], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_a_layer_that_is_called_twice_is_followed_twice():
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, shared(shared(inputs)))
    changed = insert_behind(model, {"shared": doubled("shared")})
    np.testing.assert_allclose(changed(DATA), 2 * shared(2 * shared(DATA)), rtol=1e-5)


def test_a_sequential_model_stays_one():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2)])
    changed = insert_behind(model, {"a": doubled("a")})
    assert isinstance(changed, keras.Sequential)
    first, last = model.layers
    np.testing.assert_allclose(changed(DATA), last(2 * first(DATA)), rtol=1e-5)


def test_arguments_of_operations_are_followed_too():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="a")(inputs)
    model = keras.Model(inputs, tf.add(1.0, y=x))
    changed = insert_behind(model, {"a": doubled("a")})
    np.testing.assert_allclose(changed(DATA), 2 * model.get_layer("a")(DATA) + 1, rtol=1e-5)


@pytest.mark.parametrize(("lower", "upper"), [(0, 3), (-4, 3)])
def test_the_quantization_layer_rounds_to_codes_within_its_range(lower, upper):
    values = np.float32([-9, -0.9, -0.25, 0, 0.2, 0.25, 0.3, 0.75, 9])
    layer = ActivationQuantization(0.5, lower, upper)
    expected = 0.5 * np.clip(np.round(values / 0.5), lower, upper)
    np.testing.assert_array_equal(layer(values), expected)
    assert layer(values.astype(np.float16)).dtype == tf.float32  # Autocast to the layer's own.
    copy = ActivationQuantization.from_config(layer.get_config())
    np.testing.assert_array_equal(copy(values), expected)
