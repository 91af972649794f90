"""A file that would run code when it is loaded must not; each one here would leave a trace."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.models import build
from tfqkd.training.stages import load_model

from .linear import save_linear


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "trace"


def lambda_model(trace):
    def leave(x, path=str(trace)):
        import pathlib

        pathlib.Path(path).write_text("executed")
        return x

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Lambda(leave),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    trace.unlink()
    return model


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model"])
def test_a_lambda_is_not_executed(tmp_path, trace, name):
    lambda_model(trace).save(tmp_path / name)
    trace.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="holds a Lambda, which is code"):
        load_model(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_foreign_module_is_not_imported(tmp_path, trace, monkeypatch, suffix):
    (tmp_path / "foreign_module.py").write_text(
        f"open({str(trace)!r}, 'w').close()\nclass Dense: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"model{suffix}"
    save_linear(path, seed=0)
    load_model(path)

    def poison(text):
        config = json.loads(text)
        layer = config["config"]["layers"][-1]
        layer["module"], layer["registered_name"] = "foreign_module", None
        return json.dumps(config)

    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = poison(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        content["config.json"] = poison(content["config.json"]).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"names foreign_module\.Dense, which is not of Keras"):
        load_model(path)
    assert not trace.exists()


def test_a_graph_that_writes_files_is_refused(tmp_path, trace):
    class Writer(keras.layers.Layer):
        def call(self, inputs):
            with tf.control_dependencies([tf.io.write_file(str(trace), "executed")]):
                return tf.identity(inputs)

    model = keras.Sequential(
        [keras.Input((8, 8, 1)), Writer(), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.save(tmp_path / "model")
    trace.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="its graph has the operations WriteFile"):
        load_model(tmp_path / "model")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model"])
def test_models_of_keras_and_tfqkd_load_as_they_are(tmp_path, name):
    model = build("cnn2", (8, 8, 1), 10, mean=[78.0], std=[96.0])
    model.save(tmp_path / name)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(
        load_model(tmp_path / name).predict(images, verbose=0), model.predict(images, verbose=0)
    )
