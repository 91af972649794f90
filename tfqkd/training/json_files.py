"""JSON files of a run: read, and refused where they are damaged."""

import json
import pathlib
from typing import Any


def read_json(file: pathlib.Path, shape: Any, whole: pathlib.Path | None = None) -> Any:
    """Reads a JSON file of a run.

    Args:
        file: The file.
        shape: As for `look_at_json`.
        whole: The product that it is a part of; the file itself if None.

    Raises:
        ValueError: If it is damaged.
    """
    value, damage = look_at_json(file, shape)
    if damage:
        raise ValueError(
            f"A file of a run must be as it was written. Received: {file} ({damage}). "
            f"Remove {whole or file}: the same bin/train command makes it anew."
        )
    return value


def look_at_json(file: pathlib.Path, shape: Any) -> tuple[Any, str]:
    """Returns what a JSON file holds, and how it is damaged; "" if it is not.

    Args:
        file: The file.
        shape: What it must hold: a type or several, `{name: shape}` for an object that has these names,
            `[shape]` for a list of one or more, `[shape, ...]` for one of any number.
    """
    try:
        value = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError) as error:
        return None, str(error)
    return value, "" if _fits(value, shape) else "what it should hold is not in it"


def _fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, dict):
        named = isinstance(value, dict) and set(shape) <= set(value)
        return named and all(_fits(value[name], each) for name, each in shape.items())
    if isinstance(shape, list):
        enough = isinstance(value, list) and (bool(value) or ... in shape)
        return enough and all(_fits(each, shape[0]) for each in value)
    return isinstance(value, shape)
