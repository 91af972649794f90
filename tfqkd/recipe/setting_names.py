"""The names of settings: GROUP.NAME, and short ones for those that are typed most."""

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from tfqkd.recipe import values
from tfqkd.recipe.renamed import now

SHORT = {
    "dataset": "data.dataset",
    "data_dir": "data.dir",
    "download": "data.download",
    "teacher": "teacher.network",
    "student": "student.network",
    "bits": "quantize.bits",
    "quantizer": "quantize.quantizer",
    "temperature": "distil.temperature",
    "coefficient": "distil.coefficient",
    "schedule": "distil.schedule",
    "seed": "run.seed",
    "formats": "export.formats",
}
_SHORT_OF = {name: short for short, name in SHORT.items()}


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting of a recipe.

    Attributes:
        name: With its groups: `distil.temperature`.
        base: The name of the setting that it inherits where it is None, or "".
        default: Its value where none is given.
        kind: The type of its values.
        help: What it does.
        choices: All its values, where they are few.
        changes_result: Whether another value gives another model or file.
    """

    name: str
    base: str
    default: Any
    kind: Any
    metadata: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def label(self) -> str:
        """The name that messages and tables call it by: the short one, if it has one."""
        return _SHORT_OF.get(self.name, self.name)

    @property
    def group(self) -> str:
        """The first part of its name."""
        return self.name.partition(".")[0]

    @property
    def help(self) -> str:
        """What it does."""
        return self.metadata["help"]

    @property
    def choices(self) -> tuple[str, ...]:
        """All its values, where they are few."""
        return self.metadata["choices"]

    @property
    def changes_result(self) -> bool:
        """Whether another value gives another model or file."""
        return self.metadata["changes_result"]

    def read(self, text: str) -> Any:
        """Returns the value of a flag's text; see `values.from_text`."""
        return values.from_text(self.label, text, self.kind)

    def checked(self, value: Any) -> Any:
        """Returns a value in its one form.

        Raises:
            ValueError: If it is of another type, or out of its range.
        """
        if value is None and self.base:
            return None
        value = values.typed(self.label, value, self.kind)
        rule, said = self.metadata["rule"], f"{self.label}={values.to_text(value)}"
        if self.choices and value not in self.choices:
            raise ValueError(
                f"`{self.label}` must be one of {', '.join(self.choices)}. Received: {said}."
            )
        if rule and not rule.holds(value):
            raise ValueError(f"`{self.label}` must be {rule.text}. Received: {said}.")
        form = self.metadata["form"]
        return form(value) if form else value


def settings_of(groups: type) -> Mapping[str, Setting]:
    """Returns the settings of a class of groups by their names, in the order of their declaration."""
    return types.MappingProxyType({each.name: each for each in _settings(groups, "")})


def _settings(groups: type, prefix: str) -> Iterator[Setting]:
    for field in dataclasses.fields(groups):
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(field.default):
            yield from _settings(type(field.default), f"{name}.")
        elif field.metadata:
            _, _, base = name.rpartition(".training.")
            base = f"training.{base}" if ".training." in name else ""
            # The choices of a Literal are those of the field.
            kind = str if typing.get_origin(field.type) is typing.Literal else field.type
            yield Setting(name, base, field.default, kind, field.metadata)


def full_name(name: str, known: Mapping[str, Setting]) -> str:
    """Returns the name of a setting, which may be given as its short one.

    Raises:
        ValueError: If there is none; the error gives the new name of an old one.
    """
    name = SHORT.get(name, name)
    if name in known:
        return name
    if now(name):
        raise ValueError(f"`{name}` is now `{now(name)}`. Received: {name}. Use the new name.")
    near = difflib.get_close_matches(name, [*SHORT, *known], 1)
    hint = f"Did you mean {near[0]}?" if near else "bin/train --help lists all."
    raise ValueError(f"A setting must be one of a recipe's. Received: {name!r}. {hint}")


def value_of(group: Any, name: str) -> Any:
    """Returns what a group holds under a name with dots."""
    return functools.reduce(getattr, name.split("."), group)


def replaced(group: Any, changes: Mapping[str, Any]) -> Any:
    """Returns a group with other values under names with dots."""
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        head, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    own |= {head: replaced(getattr(group, head), below) for head, below in inner.items()}
    return dataclasses.replace(group, **own)
