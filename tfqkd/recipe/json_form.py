"""The settings of a recipe as JSON: an object for each group."""

import json
from collections.abc import Mapping
from typing import Any

from tfqkd.recipe.renamed import now, renewed


def text_of(values: Mapping[str, Any]) -> str:
    """Returns settings by their names as JSON."""
    groups: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = name.split(".")
        group = groups
        for each in outer:
            group = group.setdefault(each, {})
        group[last] = value
    return json.dumps(groups, indent=2) + "\n"


def values_of(text: str, *, finished: bool) -> dict[str, Any]:
    """Returns the settings by their names that `text_of` wrote.

    Args:
        text: The JSON.
        finished: Whether it belongs to something finished, which may be read though it has old names.

    Raises:
        ValueError: If it is no JSON object, or has old names.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"A recipe must be JSON. Received: {text[:40]!r} ({error}). "
            "Restore the file, or give another --run_dir."
        ) from error
    if not isinstance(values, dict):
        raise ValueError(
            f"A recipe must be a JSON object of settings. Received: {values}. Restore the file."
        )
    old = next((name for name in values if now(name)), "")
    if not old:
        return _flat(values)
    if not finished:
        raise ValueError(
            f"A run that an older version began cannot continue: `{old}` is now `{now(old)}`. "
            f"Received: a recipe with {old}. Start again in another --run_dir."
        )
    return renewed(values)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Groups of settings as settings by their names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
