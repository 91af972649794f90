"""Model files of others: looked at before Keras makes objects of them, so that nothing is executed."""

import json
import pathlib
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
from tensorflow.core.protobuf import saved_model_pb2

_MODULES = ("keras", "tf_keras", "builtins", "tfqkd")
_CODE = ("Lambda", "__lambda__")
_FILE_OPERATIONS = {
    *("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"),
    *(
        "FixedLengthRecordDataset",
        "TFRecordDataset",
        "TextLineDataset",
        "LoadDataset",
        "SaveDataset",
    ),
}


def require_data_only(path: pathlib.Path) -> None:
    """Refuses a model file that holds code, or names code outside Keras and tfqkd.

    Keras' own safe mode covers lambdas in `.keras` files alone, and imports any module that a file names.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel.

    Raises:
        ValueError: If it names a Lambda layer or a foreign module, or its graph reads or writes files.
        OSError: If it is no such file.
    """
    for config in _configs(path):
        for entry in _entries(config):
            module, name = entry.get("module"), entry.get("class_name")
            if name in _CODE:
                raise ValueError(f"it holds a {name}, which is code")
            if isinstance(module, str) and module.split(".")[0] not in _MODULES:
                raise ValueError(f"it names {module}.{name}, which is not of Keras")
    if path.is_dir():
        found = sorted(_operations(path) & _FILE_OPERATIONS)
        if found:
            raise ValueError(f"its graph has the operations {', '.join(found)}")


def _configs(path: pathlib.Path) -> Iterator[Any]:
    if path.is_dir():
        metadata = path / "keras_metadata.pb"
        if metadata.exists():
            # A protocol buffer whose strings are the layers' configs as JSON.
            for text in re.findall(rb'\{"name".*', metadata.read_bytes()):
                yield json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))[0]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield json.loads(archive.read("config.json"))
    else:
        with h5py.File(path) as file:
            yield json.loads(file.attrs["model_config"])


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    for value in config if isinstance(config, list) else []:
        yield from _entries(value)


def _operations(path: pathlib.Path) -> set[str]:
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graphs = [meta.graph_def for meta in saved.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for f in graph.library.function for node in f.node_def]
    return {node.op for node in nodes}
