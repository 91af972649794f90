"""Model files of others: looked at before Keras makes objects of them, so that nothing is executed."""

import json
import pathlib
import re
import zipfile
from typing import Any

import h5py
from tensorflow.core.protobuf import saved_model_pb2
from tf_keras.protobuf import saved_metadata_pb2

from tfqkd.compat import keras
from tfqkd.fronts.model_archive import WEIGHTS, entries, require_own_data

_MODULES = ("keras", "tf_keras", "builtins", "tfqkd")
# Their configs hold code, or the path of another model.
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TensorFlowOpLayer")
# What Keras makes of operators and functions between layers names a symbol of TensorFlow, any of them.
_FUNCTION_OF_TENSORS = re.compile(
    r"(compat\.v1\.)?((__operators__|bitwise|image|linalg|math|nn|signal)\.[\w.]+|"
    "abs|add|argmax|argmin|argsort|broadcast_to|cast|clip_by_value|concat|cos|cumsum|divide|einsum|equal|"
    "exp|expand_dims|eye|fill|floor|gather|gather_nd|greater|greater_equal|identity|less|less_equal|"
    "linspace|logical_and|logical_not|logical_or|matmul|maximum|meshgrid|minimum|multiply|negative|norm|"
    "not_equal|one_hot|ones|ones_like|pad|pow|range|rank|reduce_(all|any|logsumexp|max|mean|min|prod|sum)|"
    "repeat|reshape|reverse|roll|round|scatter_nd|shape|sigmoid|sign|sin|size|slice|sort|split|sqrt|square|"
    "squeeze|stack|stop_gradient|strided_slice|subtract|tanh|tensordot|tile|transpose|truediv|unstack|"
    "where|zeros|zeros_like)"
)
_OUTSIDE = re.compile(
    "PyFunc|File|Reader|Dataset|Summary|Snapshot|ImmutableConst|^Print|^Debug|Rpc|^Save|^Restore|^MergeV2"
)
_SAVER = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}


def require_data_only(path: pathlib.Path) -> None:
    """Refuses a model file that holds code, or names code outside Keras and tfqkd, or other files.

    Keras' own safe mode covers lambdas in `.keras` files alone, and imports any module that a file names.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel.

    Raises:
        ValueError: If it names code, a foreign module or another file, or its graph reads or writes files.
        OSError: If it is no such file.
    """
    # As Keras chooses: a file can be a zip archive and HDF5 at once.
    if path.is_dir():
        require_pure_graph(path)
        configs = _metadata(path)
    elif path.name.endswith(".keras") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            configs = [json.loads(archive.read("config.json"))]
            if WEIGHTS in archive.namelist():
                with archive.open(WEIGHTS) as weights, h5py.File(weights) as file:
                    require_own_data(file)
    else:
        with h5py.File(path) as file:
            configs = [json.loads(file.attrs["model_config"])]
            require_own_data(file)
    for config in configs:
        for entry in entries(config):
            _require_known(entry)


def require_pure_graph(path: pathlib.Path) -> None:
    """Refuses a SavedModel whose functions read or write files, or that leads out of its folder.

    Raises:
        ValueError: If it does.
        OSError: If it is no SavedModel.
    """
    for entry in path.rglob("*"):
        if not entry.resolve().is_relative_to(path.resolve()):
            raise ValueError(f"its link {entry} leads out of it")
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for meta in saved.meta_graphs:
        functions = meta.graph_def.library.function
        operations = {f.signature.name: {node.op for node in f.node_def} for f in functions}
        # Those that save and restore a model are in each; nothing else may call them.
        savers = {name for name, found in operations.items() if found & _SAVER}
        nodes = [node for function in functions for node in function.node_def]
        values = [value for node in nodes for value in node.attr.values()]
        called = {f.name for value in values for f in (value.func, *value.list.func)}
        callable_ = called | set(meta.object_graph_def.concrete_functions)
        allowed = {name: _SAVER if name in savers - callable_ else set() for name in operations}
        found = {op for name, ops in operations.items() for op in ops - allowed[name]}
        found |= {node.op for node in meta.graph_def.node} - _SAVER
        outside = sorted(op for op in found if _OUTSIDE.search(op))
        if outside:
            raise ValueError(f"its graph has the operations {', '.join(outside)}")


def _require_known(entry: dict[str, Any]) -> None:
    module, name = entry.get("module"), entry.get("class_name")
    value = entry.get("value")
    if set(entry) == {"value"} and isinstance(value, list) and value and isinstance(value[0], str):
        raise ValueError(
            "it holds a Lambda, which is code"
        )  # As an activation, Keras names no class.
    # Keras finds a class by the end of a dotted name, and by its registered name too.
    names = [str(each) for each in (name, entry.get("registered_name")) if each is not None]
    ends = [re.split(r"[.>]", each)[-1] for each in names]
    for end in ends:
        if end in _CODE:
            raise ValueError(f"it holds a {end}, which is code")
    if isinstance(module, str):
        # What this program has registered is taken from it, and no module imported.
        registered = keras.saving.get_registered_object(entry.get("registered_name"))
        if module.split(".")[0] not in _MODULES and registered is None:
            raise ValueError(f"it names {module}.{name}, which is not of Keras")
        if module != "builtins" and any(end[:1].islower() for end in ends):
            raise ValueError(f"it names the function {names[-1]} of {module}")
    settings = entry.get("config")
    if not isinstance(settings, dict):
        return
    if "TFOpLambda" in ends and not _FUNCTION_OF_TENSORS.fullmatch(str(settings.get("function"))):
        raise ValueError(f"it calls {settings.get('function')}, which is no function of tensors")
    if "ClassMethod" in ends and settings.get("cls_symbol") != "RaggedTensor":
        raise ValueError(f"it calls {settings.get('cls_symbol')}, which is no kind of tensor")
    if isinstance(settings.get("vocabulary"), str):
        raise ValueError(f"its {name} reads the file {settings['vocabulary']}")


def _metadata(path: pathlib.Path) -> list[Any]:
    """The configs of the layers of a SavedModel; older ones hold them where they cannot be told from code."""
    content = (path / "keras_metadata.pb").read_bytes()
    nodes = saved_metadata_pb2.SavedMetadata.FromString(content).nodes
    return [json.loads(node.metadata) for node in nodes]
