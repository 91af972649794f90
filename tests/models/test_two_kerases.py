"""One builder makes the same network with Keras 3 as with tf_keras."""

import importlib.util
import os
import subprocess
import sys

import keras as keras3
import numpy as np
import pytest

from tests.parameters import some
from tfqkd.models import build

from . import copying

NETWORKS = {
    "resnet8": (16, 16, 3),
    "wrn8x0.6": (8, 8, 1),
    "vgg7x0.0625": (16, 16, 3),
    "cnn4": (8, 8, 1),
    "vit1x8": (8, 8, 1),
    "resnet8_mlperf_0.5": (8, 8, 3),
    "mobilenetv2_0.35": (8, 8, 3),
    "mobilenetv3_small_0.5": (8, 8, 1),
    "efficientnet_lite0_0.25": (8, 8, 3),
}
CLASSES = 5


def path(variable):
    """A variable's name in Keras 3, which differs where tf_keras says `depthwise_kernel`."""
    return variable.name.removesuffix(":0").replace("/depthwise_kernel", "/kernel")


def with_random_weights(name, shape):
    """A network whose norms, biases and logits are not those that it starts with."""
    model = build(name, shape, CLASSES, mean=[120.0] * shape[-1], std=[60.0] * shape[-1])
    copying.randomize(model)
    return model


QUICK = ("resnet8", "vgg7x0.0625", "cnn4", "vit1x8", "mobilenetv3_small_0.5")


@pytest.fixture(scope="module", params=some(NETWORKS, *QUICK))
def built(request):
    """A network of tf_keras, that of Keras 3 with its weights, and the logits of both."""
    name, shape = request.param, NETWORKS[request.param]
    model = with_random_weights(name, shape)
    images = np.random.default_rng(1).uniform(0, 255, (4, *shape)).astype("float32")
    statistics = {"mean": [120.0] * shape[-1], "std": [60.0] * shape[-1]}
    other = build(name, shape, CLASSES, **statistics, keras=keras3)
    given = {path(variable): variable.numpy() for variable in model.weights}
    for variable in other.weights:
        variable.assign(given[variable.path])
    logits = (each(images, training=False) for each in (model, other))
    return model, other, *map(np.asarray, logits)


def test_layers_and_variables_have_the_same_names_and_shapes(built):
    model, other, _, _ = built
    assert other.name == model.name
    assert [layer.name for layer in other.layers] == [layer.name for layer in model.layers]
    assert {w.path: tuple(w.shape) for w in other.weights} == {
        path(w): tuple(w.shape) for w in model.weights
    }
    trainable = {w.path for w in other.trainable_weights}
    assert trainable == {path(w) for w in model.trainable_weights}
    assert other.count_params() == model.count_params()


def test_the_same_weights_give_the_same_logits(built):
    _, _, expected, found = built
    assert found.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


# test_pretrained.py builds one too, in a process that it starts besides; so do the tests of Keras 3.
@pytest.mark.slow
def test_a_network_of_keras_3_is_built_without_tf_keras():
    backend = "jax" if importlib.util.find_spec("jax") else "tensorflow"
    code = (
        "import sys\n"
        "sys.modules['tf_keras'] = sys.modules['tensorflow_model_optimization'] = None\n"
        "import keras\n"
        "from tfqkd.models import build\n"
        "build('cnn4', (8, 8, 1), 3, mean=[120.0], std=[60.0], keras=keras)\n"
        "assert 'tfqkd.compat' not in sys.modules\n"
        f"assert '{backend}' == keras.backend.backend()\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_builders_are_imported_without_any_keras():
    code = (
        "import sys\n"
        "from tfqkd.models import blocks, inverted, zoo\n"
        "assert not {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
