"""A wrapped model comes back from every file that it is saved to, and trains on."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.parameters import some
from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schemes import Scheme, TernaryScheme
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.stripping import strip_quantization
from tfqkd.fronts.tfmot.summary import quantization_summary

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype(np.float32)
LABELS = np.arange(16) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SCHEMES = {
    "once": Scheme(UniformQuantizer(2)),
    "every_step": Scheme(UniformQuantizer(3, "channel", "every_step")),
    "lsq": Scheme(LsqQuantizer(3, "channel"), LsqActivationQuantizer(4)),
    "twn": Scheme(TwnQuantizer()),
    "ttq": Scheme(TtqQuantizer(), PactQuantizer(4)),
    "dorefa": Scheme(DorefaQuantizer(2, gradient_bits=6), LsqActivationQuantizer(4)),
    "gradual": Scheme(GradualQuantizer(LsqQuantizer(2), wider=(4,), by_share=True)),
}


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu", name="stem"),
            layers.SeparableConv2D(4, 2, use_bias=True, name="separable"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="rectified"),
            layers.DepthwiseConv2D(2, name="depthwise"),
            layers.Flatten(),
            layers.Dense(5, activation="relu", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )


def trained(scheme):
    model = quantize_model(network(), SCHEMES[scheme])
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    model.fit(IMAGES, LABELS, batch_size=8, shuffle=False, verbose=0)
    return model


def require_equal(loaded, model):
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    for found, expected in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=expected.name)


@pytest.mark.parametrize("scheme", some(SCHEMES, "gradual"))
def test_a_wrapped_model_comes_back_from_a_keras_file_and_trains_on(tmp_path, scheme):
    model = trained(scheme)
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    require_equal(loaded, model)
    assert [v.name for v in loaded.variables] == [v.name for v in model.variables]
    np.testing.assert_array_equal(
        strip_quantization(loaded)(IMAGES), strip_quantization(model)(IMAGES)
    )
    assert str(quantization_summary(loaded, None)) == str(quantization_summary(model, None))
    for one in (loaded, model):
        tf.random.set_seed(1)
        one.fit(IMAGES, LABELS, batch_size=8, shuffle=False, verbose=0)
    for found, expected in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=expected.name)


@pytest.mark.parametrize("scheme", some(SCHEMES, "dorefa"))
def test_a_model_of_tfmots_own_wrappers_comes_back_too(tmp_path, scheme):
    annotated = keras.models.clone_model(
        network(),
        clone_function=lambda layer: (
            tfmot.quantization.keras.quantize_annotate_layer(
                type(layer).from_config(layer.get_config())
            )
            if layer.name in ("separable", "depthwise", "hidden")
            else type(layer).from_config(layer.get_config())
        ),
    )
    model = tfmot.quantization.keras.quantize_apply(annotated, SCHEMES[scheme])
    model.save(tmp_path / "a.keras")
    with tfmot.quantization.keras.quantize_scope():
        loaded = keras.models.load_model(tmp_path / "a.keras")
    require_equal(loaded, model)


@pytest.mark.parametrize("name", some(["a.keras", "a.h5", "a"], "a.keras"))
def test_a_checkpoint_of_fit_is_a_file_like_any_other(tmp_path, name):
    model = quantize_model(network(), TernaryScheme())
    model.compile("sgd", LOSS)
    path = str(tmp_path / name)
    keep = keras.callbacks.ModelCheckpoint(path)
    model.fit(IMAGES, LABELS, verbose=0, callbacks=[keep])
    np.testing.assert_array_equal(keras.models.load_model(path)(IMAGES), model(IMAGES))


@pytest.mark.slow
def test_another_process_needs_no_more_than_the_import(tmp_path):
    model = trained("ttq")
    for name in ("a.keras", "a.h5", "a"):
        model.save(tmp_path / name)
    np.save(tmp_path / "images.npy", IMAGES)
    script = """
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np, tf_keras
import tfqkd.tfmot
for name in ("a.keras", "a.h5", "a"):
    np.save(f"{name}.npy", tf_keras.models.load_model(name)(np.load("images.npy")))
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env=dict(os.environ))
    for name in ("a.keras", "a.h5", "a"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), model(IMAGES), atol=1e-6)
