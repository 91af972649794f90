"""A setting's value as the text of a flag, in JSON and in Python: the one conversion between them."""

import csv
import io
import math
import types
import typing
from typing import Any

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_SWITCH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def from_text(name: str, text: str, kind: Any) -> Any:
    """Reads the text of a flag.

    Args:
        name: Of the setting, for messages.
        text: What stands behind `=`; items of a list are separated by commas, and one that holds a comma
            stands in double quotes.
        kind: The setting's annotation: bool, int, float, str, `int | str`, `float | str`, or a tuple of one.

    Raises:
        ValueError: If it is no such value.
    """
    if typing.get_origin(kind) is tuple:
        try:
            items = next(csv.reader([text], skipinitialspace=True), [])
        except csv.Error as error:
            raise ValueError(
                f"`{name}` must be a list on one line. Received: {name}={text!r}."
            ) from error
        return tuple(from_text(name, item.strip(), typing.get_args(kind)[0]) for item in items)
    if isinstance(kind, types.UnionType):
        return _number_or_text(text, typing.get_args(kind)[0])
    try:
        return _SWITCH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"`{name}` must be {_WORDS[kind]}. Received: {name}={text}.") from error


def _number_or_text(text: str, number: type) -> Any:
    if number is int:
        return int(text) if text.isascii() and text.isdigit() else text
    try:
        return number(text)
    except ValueError:
        return text


def to_text(value: Any) -> str:
    """Returns the text of a flag, which `from_text` reads."""
    if isinstance(value, tuple):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(map(to_text, value))
        return line.getvalue()
    return str(value).lower() if isinstance(value, bool) else str(value)


def typed(name: str, value: Any, kind: Any) -> Any:
    """Returns what JSON or Python give, as the type of a setting: lists are tuples, whole numbers floats.

    Args:
        name: Of the setting, for messages.
        value: The value.
        kind: As for `from_text`.

    Raises:
        ValueError: If it is no such value.
    """
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"`{name}` must be a list. Received: {name}={value!r}.")
        return tuple(typed(name, item, typing.get_args(kind)[0]) for item in value)
    kinds = typing.get_args(kind) or (kind,)
    if float in kinds and type(value) is int:
        try:
            value = float(value)
        except OverflowError:  # An integer of hundreds of digits.
            value = math.inf
    if type(value) not in kinds:
        words = " or ".join(_WORDS[each] for each in kinds)
        raise ValueError(f"`{name}` must be {words}. Received: {name}={value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"`{name}` must be finite. Received: {name}={value}.")
    return value
