"""One builder makes the same network with Keras 3 as with tf_keras."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tfqkd.models import build

from . import copying

NETWORKS = {
    "resnet8": (16, 16, 3),
    "wrn8x0.6": (8, 8, 1),
    "vgg7x0.0625": (16, 16, 3),
    "cnn4": (8, 8, 1),
    "resnet8_mlperf_0.5": (8, 8, 3),
    "mobilenetv2_0.35": (8, 8, 3),
    "mobilenetv3_small_0.5": (8, 8, 1),
    "efficientnet_lite1_0.25": (8, 8, 3),
}
CLASSES = 5

# Takes weights and images of every network, as tf_keras has them; gives what Keras 3 makes of them.
PROGRAM = """
import json, pathlib, sys
import keras
import numpy as np
from tfqkd.models import build

directory = pathlib.Path(sys.argv[1])
facts, outputs = {}, {}
for name, shape in json.loads(sys.argv[2]).items():
    channels = shape[-1]
    model = build(name, shape, int(sys.argv[3]), mean=[120.0] * channels, std=[60.0] * channels, keras=keras)
    given = dict(np.load(directory / f"{name}.npz"))
    facts[name] = {
        "model": model.name,
        "layers": [layer.name for layer in model.layers],
        "variables": {w.path: list(w.shape) for w in model.weights},
        "trainable": sorted(w.path for w in model.trainable_weights),
        "parameters": model.count_params(),
    }
    for variable in model.weights:
        variable.assign(given[variable.path])
    outputs[name] = keras.ops.convert_to_numpy(model(given["images"], training=False))
assert not {"tf_keras", "tensorflow_model_optimization", "tfqkd.compat"} & set(sys.modules)
np.savez(directory / "outputs.npz", **outputs)
(directory / "facts.json").write_text(json.dumps(facts))
"""


def path(variable):
    """A variable's name in Keras 3, which differs where tf_keras says `depthwise_kernel`."""
    return variable.name.removesuffix(":0").replace("/depthwise_kernel", "/kernel")


def with_random_weights(name, shape):
    """A network whose norms, biases and logits are not those that it starts with."""
    model = build(name, shape, CLASSES, mean=[120.0] * shape[-1], std=[60.0] * shape[-1])
    copying.randomize(model)
    return model


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Per network: the tf_keras model, its logits, the facts and the logits of Keras 3's."""
    directory = tmp_path_factory.mktemp("keras3")
    models, logits = {}, {}
    for name, shape in NETWORKS.items():
        models[name] = with_random_weights(name, shape)
        images = np.random.default_rng(1).uniform(0, 255, (4, *shape)).astype("float32")
        weights = {path(variable): variable.numpy() for variable in models[name].weights}
        np.savez(directory / f"{name}.npz", images=images, **weights)
        logits[name] = models[name](images, training=False).numpy()
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, directory, json.dumps(NETWORKS), str(CLASSES)],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    facts = json.loads((directory / "facts.json").read_text())
    outputs = dict(np.load(directory / "outputs.npz"))
    return {name: (models[name], logits[name], facts[name], outputs[name]) for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_and_variables_have_the_same_names_and_shapes(built, name):
    model, _, facts, _ = built[name]
    assert facts["model"] == model.name == name
    assert facts["layers"] == [layer.name for layer in model.layers]
    assert facts["variables"] == {path(w): list(w.shape) for w in model.weights}
    assert facts["trainable"] == sorted(path(w) for w in model.trainable_weights)
    assert facts["parameters"] == model.count_params()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_weights_give_the_same_logits(built, name):
    _, expected, _, found = built[name]
    assert found.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_builders_are_imported_without_any_keras():
    code = (
        "import sys\n"
        "from tfqkd.models import blocks, inverted, zoo\n"
        "assert not {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
