"""The same bytes for the same model: takes dates, counters of the process and random names out of files."""

import json
import pathlib
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from google.protobuf.message import Message
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfqkd.runtime.signature import KERAS_METADATA

_DATE = (1980, 1, 1, 0, 0, 0)  # The first that a zip archive can hold.
_FINGERPRINT = "fingerprint.pb"
# Attributes of TensorFlow that hold its counters, for messages and gradients.
_COUNTERS = {"_user_specified_name": r"\d+", "_gradient_op_type": r"(Stateful)?PartitionedCall-\d+"}
_PLACEHOLDER = re.compile(r"_\d+(?=___redundant_placeholder)")  # Of loops.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def settle_saved_model(directory: pathlib.Path) -> None:
    """Makes a SavedModel depend on its model alone.

    TensorFlow numbers functions through a process, and Keras' recurrent layers have random names.

    Args:
        directory: The SavedModel; its graph is rewritten, and its fingerprint, which holds a random number,
            deleted: TensorFlow loads it without.
    """
    file = directory / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    for graph in saved.meta_graphs:
        _settle_graph(graph)
    file.write_bytes(saved.SerializeToString(deterministic=True))
    (directory / _FINGERPRINT).unlink(missing_ok=True)


def settle_archive(file: pathlib.Path, said: Mapping[str, Any]) -> None:
    """Takes the dates out of a .keras file.

    Args:
        file: The file.
        said: What goes into its `metadata.json` beside what Keras keeps there. An entry of its own would make
            both Kerases unpack the archive, in which Python 3.13.0 and 3.13.1 lose their place (CPython's
            issue 127847).
    """
    settled = file.with_name(f"{file.name}.settled")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(settled, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == KERAS_METADATA:
                kept = {**json.loads(content), "date_saved": "", **said}
                content = json.dumps(kept).encode()
            new.writestr(zipfile.ZipInfo(entry.filename, _DATE), content, entry.compress_type)
    shutil.move(settled, file)


def _settle_graph(graph: MetaGraphDef) -> None:
    library = graph.graph_def.library
    names = _numbered([function.signature.name for function in library.function])
    by_name = {function.signature.name: function for function in library.function}
    # Emptying the list destroys what is in it.
    functions = [FunctionDef.FromString(by_name[name].SerializeToString()) for name in names]
    del library.function[:]
    library.function.extend(functions)
    uuids: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return uuids.setdefault(found[0], str(len(uuids)))

    for function in library.function:
        _drop_counters(function)
    _rewrite(graph, lambda text: names.get(text) or _UUID.sub(number, _PLACEHOLDER.sub("", text)))


def _numbered(names: list[str]) -> dict[str, str]:
    """Returns for each name one with its rank among those alike in place of its numbers, in order."""

    def stem_and_numbers(name: str) -> tuple[str, list[int]]:
        return re.sub(r"_\d+", "_", name), [int(number) for number in re.findall(r"_(\d+)", name)]

    ranks: dict[str, int] = {}
    renamed = {}
    for name in sorted(names, key=stem_and_numbers):
        stem, numbers = stem_and_numbers(name)
        ranks[stem] = ranks.get(stem, -1) + 1
        renamed[name] = f"{stem}{ranks[stem]}" if numbers else name
    return renamed


def _drop_counters(function: FunctionDef) -> None:
    arguments = [each.attr for each in function.arg_attr.values()]
    for attributes in (*arguments, *(node.attr for node in function.node_def)):
        for name, pattern in _COUNTERS.items():
            if name in attributes and re.fullmatch(pattern, attributes[name].s.decode()):
                del attributes[name]


def _rewrite(message: Message, settle: Callable[[str], str]) -> None:
    """Changes every text in a message, also the keys of maps."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
            _rewrite_map(value, settle)
        elif field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                _rewrite(inner, settle)
        elif field.type in (field.TYPE_STRING, field.TYPE_BYTES) and field.name != "string_val":
            if field.is_repeated:
                value[:] = [_settled(text, settle) for text in value]
            else:
                setattr(message, field.name, _settled(value, settle))


def _rewrite_map(entries: MutableMapping[Any, Any], settle: Callable[[str], str]) -> None:
    for key in list(entries):
        if isinstance(entries[key], Message):
            _rewrite(entries[key], settle)
        name = settle(key) if isinstance(key, str) else key
        if name != key:
            entries[name].CopyFrom(entries[key])
            del entries[key]


def _settled(text: str | bytes, settle: Callable[[str], str]) -> str | bytes:
    if isinstance(text, str):
        return settle(text)
    # Beside names, bytes hold what is no text: weights and options.
    return settle(text.decode()).encode() if text.isascii() and len(text) < 256 else text
