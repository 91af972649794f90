"""Options of single formats: types of inputs and outputs, an arena, and what makes 2-bit files not exact."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfqkd.export.formats import FORMATS, Format

_MICRO = "tflm"
_OPTIONAL = "litert-int2"
_OPTIONS = {"head": ("float32", "int8"), "dense_kernels": ("exact", "int2")}
INPUT_TYPES = ("float32", "uint8", "int8")
OUTPUT_TYPES = ("float32", "int8")


def with_types(forms: Sequence[Format], input_type: str, output_type: str) -> tuple[Format, ...]:
    """Returns formats of which those of integers alone take and return these types.

    Args:
        forms: The formats; the others are for comparison.
        input_type: See `Format.input_type`.
        output_type: See `Format.output_type`.

    Raises:
        ValueError: If a type is unknown, or no format is one of integers.
    """
    for name, value, known in (
        ("input_type", input_type, INPUT_TYPES),
        ("output_type", output_type, OUTPUT_TYPES),
    ):
        if value not in known:
            raise ValueError(
                f"`{name}` must be one of {', '.join(known)}. Received: {name}={value!r}. "
                "Leave it out for float32."
            )
        if value != "float32" and not any(form.has_types for form in forms):
            whole = ", ".join(form.name for form in FORMATS.values() if form.has_types)
            raise ValueError(
                f"`{name}` is an option of {whole}. Received: {name}={value!r} for "
                f"{', '.join(form.name for form in forms)}. Leave it out, or add one of these."
            )
    return tuple(
        dataclasses.replace(form, input_type=input_type, output_type=output_type)
        if form.has_types
        else form
        for form in forms
    )


def with_arena(forms: Sequence[Format], arena_bytes: int) -> tuple[Format, ...]:
    """Returns formats of which "tflm" has a limit.

    Args:
        forms: The formats; the others are for comparison.
        arena_bytes: See `Format.arena_bytes`.

    Raises:
        ValueError: If it is below 0, or no format has it.
    """
    if arena_bytes < 0 or (arena_bytes and _MICRO not in {form.name for form in forms}):
        raise ValueError(
            f"`arena_bytes`, 0 or more, is an option of {_MICRO}. Received: arena_bytes={arena_bytes} for "
            f"{', '.join(form.name for form in forms)}. Leave it out, or add {_MICRO}."
        )
    return tuple(
        dataclasses.replace(form, arena_bytes=arena_bytes) if form.name == _MICRO else form
        for form in forms
    )


def with_options(forms: Sequence[Format], head: str, dense_kernels: str) -> tuple[Format, ...]:
    """Returns formats of which "litert-int2" has options that make it smaller or faster, not exact.

    Args:
        forms: The formats; the others are for comparison.
        head: "float32", or "int8": see `Format.rounds_head`.
        dense_kernels: "exact", or "int2": see `Format.multiplies_codes`.

    Raises:
        ValueError: If an option is unknown, or no format has it.
    """
    chosen = {"head": head, "dense_kernels": dense_kernels}
    for name, known in _OPTIONS.items():
        if chosen[name] not in known:
            raise ValueError(
                f"`{name}` must be one of {', '.join(known)}. Received: {name}={chosen[name]!r}. "
                f"Leave it out for {known[0]}."
            )
        if chosen[name] != known[0] and _OPTIONAL not in {form.name for form in forms}:
            raise ValueError(
                f"`{name}` is an option of {_OPTIONAL}. Received: {name}={chosen[name]!r} for "
                f"{', '.join(form.name for form in forms)}. Leave it out, or add {_OPTIONAL}."
            )
    # Rounded activations cost more than a rounded head, and either may turn a few test images.
    rounds, multiplies = head == "int8", dense_kernels == "int2"
    changes: dict[str, Any] = {"rounds_head": rounds, "multiplies_codes": multiplies}
    if rounds or multiplies:
        changes |= {"tolerance": 0.1 if multiplies else 2e-2, "top1_points": 0.5}
    return tuple(
        dataclasses.replace(form, **changes) if form.name == _OPTIONAL else form for form in forms
    )
