"""A file that would run code when it is loaded must not; each one here would leave a trace."""

import contextlib
import io
import json
import pathlib
import sys
import zipfile

import h5py
import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2
from training.linear import save_linear

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.saved_models import load_model
from tfqkd.models import build


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


def change_config(path, change):
    """Rewrites the config of a saved model, in whichever way its file holds it."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(content["config.json"])
    change(config)
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "change",
    [
        {"class_name": "layers.Lambda", "module": "keras"},
        {"class_name": "Any", "registered_name": "Lambda", "module": "keras.src.layers.core.lambda_layer"},
        {"class_name": "TFSMLayer", "module": "keras.layers"},
        {"class_name": "TensorFlowOpLayer", "module": "keras.src.engine.base_layer"},
    ],
    ids=["dotted name", "registered name", "another model", "raw operation"],
)  # fmt: skip
def test_code_under_another_name_is_refused(tmp_path, change):
    path = tmp_path / "model.keras"
    save_linear(path, seed=0)
    change_config(path, lambda config: config["config"]["layers"][-1].update(change))
    with pytest.raises(ValueError, match=r"holds a \w+, which is code"):
        load_model(path)


def test_a_function_in_the_place_of_a_layer_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    save_linear(path, seed=0)
    function = {"module": "keras.utils", "class_name": "function", "config": "get_file"}
    function["registered_name"] = "get_file"
    change_config(
        path, lambda config: config["config"]["layers"][-1]["config"].update(activation=function)
    )
    with pytest.raises(ValueError, match=r"names the function get_file of keras\.utils"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_operators_load_and_functions_that_reach_outside_are_not_called(tmp_path, trace, suffix):
    path = tmp_path / f"model{suffix}"
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(tf.abs(inputs * 2.0 - 1.0)))
    model = keras.Model(inputs, outputs)
    model.save(path)
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(
        load_model(path).predict(images, verbose=0), model.predict(images, verbose=0)
    )
    trace.mkdir()

    def poison(config):
        layer = next(x for x in config["config"]["layers"] if x["class_name"] == "TFOpLambda")
        layer["config"]["function"] = "io.gfile.rmtree"
        layer["inbound_nodes"] = [["_CONSTANT_VALUE", -1, str(trace), {}]]

    change_config(path, poison)
    with pytest.raises(ValueError, match=r"calls io\.gfile\.rmtree, which is no function of"):
        load_model(path)
    assert trace.exists()


def test_a_list_of_words_is_not_read_from_another_file(tmp_path):
    path = tmp_path / "model.keras"
    save_linear(path, seed=0)
    lookup = {"class_name": "StringLookup", "config": {"vocabulary": "/etc/hostname"}}
    change_config(path, lambda config: config["config"]["layers"][-1].update(lookup))
    with pytest.raises(ValueError, match="its StringLookup reads the file /etc/hostname"):
        load_model(path)


def test_a_file_of_two_kinds_is_read_as_keras_reads_it(tmp_path, trace):
    path, harmless = tmp_path / "model.h5", tmp_path / "harmless.keras"
    lambda_model(trace).save(path)
    trace.unlink(missing_ok=True)
    save_linear(harmless, seed=0)
    # HDF5 begins a file and a zip archive ends it.
    path.write_bytes(path.read_bytes() + harmless.read_bytes())
    assert zipfile.is_zipfile(path)
    with pytest.raises(ValueError, match="holds a Lambda, which is code"):
        load_model(path)
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_weights_are_not_taken_from_another_file(tmp_path, suffix, kind):
    path, other = tmp_path / f"model{suffix}", tmp_path / "other.h5"
    save_linear(path, seed=0)
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(640, dtype=np.float32).reshape(64, 10)

    def poison(file):
        datasets = []
        file.visititems(lambda n, x: datasets.append(n) if isinstance(x, h5py.Dataset) else None)
        name = next(n for n in datasets if file[n].ndim == 2)
        shape = file[name].shape
        del file[name]
        if kind == "link":
            file[name] = h5py.ExternalLink(str(other), "secret")
        elif kind == "storage":
            file.create_dataset(name, shape, "f4", external=[(str(other), 0, 4 * 640)])
        else:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource(str(other), "secret", shape)
            file.create_virtual_dataset(name, layout)

    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            poison(file)
    else:
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        (tmp_path / "w.h5").write_bytes(content["model.weights.h5"])
        with h5py.File(tmp_path / "w.h5", "r+") as file:
            poison(file)
        content["model.weights.h5"] = (tmp_path / "w.h5").read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(ValueError, match="is in another file"):
        load_model(path)


def test_an_archive_is_not_followed_outside(tmp_path, trace):
    path = tmp_path / "deep" / "model.keras"
    path.parent.mkdir()
    save_linear(path, seed=0)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"../../..{trace}", "followed")
        archive.writestr(str(trace), "followed")
    # There zipfile loses its place in an archive with more entries than Keras wrote (CPython's issue 127847).
    version = sys.version_info
    loses_its_place = (3, 12) <= version < (3, 12, 9) or (3, 13) <= version < (3, 13, 2)
    with contextlib.suppress(ValueError) if loses_its_place else contextlib.nullcontext():
        load_model(path)
    assert not trace.exists()


class Trap:
    def __init__(self, trace):
        self._trace = trace

    def __reduce__(self):
        return pathlib.Path.touch, (self._trace,)


def test_a_pickle_among_the_weights_is_not_opened(tmp_path, trace):
    path = tmp_path / "model.keras"
    save_linear(path, seed=0)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    del content["model.weights.h5"]
    stream = io.BytesIO()
    np.savez(stream, **{"layers/dense/vars": np.array([Trap(trace)], dtype=object)})
    content["model.weights.npz"] = stream.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with contextlib.suppress(ValueError):
        load_model(path)
    assert not trace.exists()


def test_a_saved_model_leads_nowhere_else(tmp_path):
    save_linear(tmp_path / "model", seed=0)
    data = tmp_path / "model" / "variables" / "variables.data-00000-of-00001"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"its link .*variables\.data.* leads out of it"):
        load_model(tmp_path / "model")


def test_a_saved_model_of_an_old_kind_is_refused(tmp_path, trace):
    """It holds the configs of its layers elsewhere, where a Lambda would not be seen."""
    lambda_model(trace).save(tmp_path / "model")
    trace.unlink(missing_ok=True)
    (tmp_path / "model" / "keras_metadata.pb").unlink()
    with pytest.raises(ValueError, match=r"keras_metadata\.pb"):
        load_model(tmp_path / "model")
    assert not trace.exists()


def test_what_saves_a_graph_may_not_be_called_by_it(tmp_path):
    save_linear(tmp_path / "model", seed=0)
    file = tmp_path / "model" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (meta,) = saved.meta_graphs
    functions = meta.graph_def.library.function
    saver = next(f for f in functions if any(node.op == "SaveV2" for node in f.node_def))
    caller = next(f for f in functions if f is not saver and f.node_def)
    call = caller.node_def.add(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = saver.signature.name
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(ValueError, match=r"its graph has the operations .*SaveV2"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model"])
def test_models_of_keras_and_tfqkd_load_as_they_are(tmp_path, name):
    model = build("cnn2", (8, 8, 1), 10, mean=[78.0], std=[96.0])
    model.save(tmp_path / name)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(
        load_model(tmp_path / name).predict(images, verbose=0), model.predict(images, verbose=0)
    )
