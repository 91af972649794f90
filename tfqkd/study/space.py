"""The space of a study: which fields of a recipe vary, and over what. Needs no more than Python."""

import csv
import dataclasses
import itertools
import shlex
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting_names import Setting
from tfqkd.recipe.values import to_text

ARM = "arm"
"""The field whose values are names of arms."""
_LOG = "log"
# Each has its own way to be set in a study.
_OWN_FLAG = {
    "seed": "Set --repeats for the number of seeds",
    "data.validation_split": "It decides what the trials are measured on: set it once for all",
}


@dataclasses.dataclass(frozen=True)
class Listed:
    """A field that takes one of several values.

    Attributes:
        field: Of the recipe: a setting's short name, or else its whole one.
        values: At least one, all different, in the order given.
    """

    field: str
    values: tuple[Any, ...]

    def ends(self) -> tuple[Any, ...]:
        """Returns all values: each must fit the recipe."""
        return self.values

    def __str__(self) -> str:
        return f"{self.field}={to_text(tuple(map(to_text, self.values)))}"


@dataclasses.dataclass(frozen=True)
class Range:
    """A field that takes any number from `low` to `high`.

    Attributes:
        field: Of the recipe: a setting's short name, or else its whole one.
        low: Smallest value, included.
        high: Largest value, included.
        log: Whether values are drawn evenly on a logarithmic scale.
    """

    field: str
    low: float
    high: float
    log: bool = False

    def ends(self) -> tuple[float, float]:
        """Returns both ends: each must fit the recipe."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.field}={self.low}:{self.high}{':log' if self.log else ''}"


@dataclasses.dataclass(frozen=True)
class Arms(Listed):
    """Named settings of several fields each; a trial takes one of them.

    Attributes:
        settings: Of each arm, in the order of `values`, its names: pairs of a field and its value.
    """

    settings: tuple[tuple[tuple[str, Any], ...], ...] = ()

    def of(self, name: str) -> dict[str, Any]:
        """Returns the settings of an arm."""
        return dict(self.settings[self.values.index(name)])

    def __str__(self) -> str:
        texts = []
        for name, settings in zip(self.values, self.settings, strict=True):
            words = [shlex.quote(f"{field}={to_text(value)}") for field, value in settings]
            texts.append(" ".join([f"{name}:", *words]))
        return f"{self.field}={to_text(tuple(texts))}"


Axis = Listed | Range


@dataclasses.dataclass(frozen=True)
class Space:
    """What a study varies.

    Attributes:
        axes: One for each field.
    """

    axes: tuple[Axis, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that vary."""
        return tuple(axis.field for axis in self.axes)

    @property
    def listed(self) -> tuple[Listed, ...]:
        """The axes with listed values."""
        return tuple(axis for axis in self.axes if isinstance(axis, Listed))

    @property
    def is_grid(self) -> bool:
        """Whether every axis has listed values, so that all settings can be tried."""
        return len(self.listed) == len(self.axes)

    def corners(self) -> Iterator[dict[str, Any]]:
        """Yields the settings at all listed values and ends of ranges; of a grid, all settings."""
        return _product((axis.field, axis.ends()) for axis in self.axes)

    def apply(self, recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
        """Returns the recipe with these settings, an arm's among them; raises as `apply` does."""
        arms = {axis.field: axis for axis in self.axes if isinstance(axis, Arms)}
        plain = {name: value for name, value in settings.items() if name not in arms}
        for field, axis in arms.items():
            plain |= axis.of(settings[field]) if field in settings else {}
        return apply(recipe, plain)

    def check(self, recipe: Recipe) -> None:
        """Makes the recipe of every corner.

        Raises:
            ValueError: If a setting contradicts the recipe or another one.
        """
        for settings in self.corners():
            self.apply(recipe, settings)


def parse_space(texts: Iterable[str], arms: Sequence[str] = ()) -> Space:
    """Reads the `--vary` flags, and the `--arm` flags.

    Args:
        texts: Each FIELD=VALUE,VALUE,... or FIELD=LOW:HIGH or FIELD=LOW:HIGH:log. A value that holds a comma
            stands in double quotes; nothing before a comma is an empty list.
        arms: Each `NAME: FIELD=VALUE FIELD=VALUE`, with a space between settings.

    Returns:
        The space, its axes in the given order.

    Raises:
        ValueError: If a field is unknown, given twice or changes no result, or has no value to take.

    Example:
        >>> parse_space(["temperature=1,2", "coefficient=0.1:0.9"]).fields
        ('temperature', 'coefficient')
    """
    axes: dict[str, Axis] = {}
    if arms:
        texts = [f"{ARM}={to_text(tuple(arms))}", *texts]
    for text in texts:
        axis = _parse_axis(text)
        if axis.field in axes:
            raise ValueError(
                f"A field can be varied only once. Received: --vary={axis.field}=... twice. List all its "
                "values in one --vary."
            )
        axes[axis.field] = axis
    if not axes:
        raise ValueError(
            "A study must vary something. Received: neither --vary nor --arm. "
            "For example: --vary=temperature=1,2,5,10 --vary=coefficient=0.1:0.9."
        )
    return Space(tuple(axes.values()))


def apply(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Returns the recipe with other values in some fields.

    Args:
        recipe: The recipe.
        settings: New values by field; lists may stand for tuples, as in JSON.

    Raises:
        ValueError: If the recipe refuses them; the message lists them.
    """
    try:
        return recipe.changed(settings)
    except ValueError as error:
        listed = ", ".join(f"{name}={value}" for name, value in settings.items())
        raise ValueError(f"{error} (At the settings {listed} of the study.)") from error


def _parse_axis(text: str) -> Axis:
    name, equals, values = text.partition("=")
    if not equals:
        raise ValueError(
            "`vary` must be FIELD=VALUE,VALUE,... or FIELD=LOW:HIGH. "
            f"Received: {text!r}. For example: --vary=temperature=1,2,5,10."
        )
    if name == ARM:
        return _parse_arms(values)
    setting = _varied(name.strip())
    if _is_range(setting, values):
        return _parse_range(setting, values)
    # A CSV line lets a value hold a comma, such as a list of milestones, in quotes.
    parts = [part.strip() for part in next(csv.reader([values], skipinitialspace=True), [])]
    is_list = typing.get_origin(setting.kind) is tuple and len(parts) > 1
    if not parts or ("" in parts and not is_list):
        example = to_text(setting.default) if setting.default else "VALUE"
        raise ValueError(
            f"A varied field must have values to take. Received: {text!r}. "
            f"For example: --vary={setting.label}={example}."
        )
    parsed = tuple(map(setting.read, parts))
    if len(set(parsed)) < len(parsed):
        raise ValueError(
            f"The values of a field must differ. Received: {text!r}. Give each one once."
        )
    return Listed(setting.label, parsed)


def _parse_arms(text: str) -> Arms:
    names, found = [], []
    for arm in next(csv.reader([text], skipinitialspace=True), []):
        name, colon, settings = arm.partition(":")
        if not (colon and name.strip()) or "=" in name:
            raise ValueError(
                f"An arm must be NAME: FIELD=VALUE FIELD=VALUE. Received: {arm!r}. "
                "For example: --arm=rkd: quantized.methods=rkd quantized.rkd.weight=balanced:1."
            )
        names.append(name.strip())
        found.append(tuple(_setting_of_arm(each) for each in shlex.split(settings)))
    if len(set(names)) < len(names):
        raise ValueError(f"Arms must have different names. Received: {', '.join(names)}.")
    return Arms(ARM, tuple(names), tuple(found))


def _setting_of_arm(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"An arm's settings must be FIELD=VALUE. Received: {text!r}.")
    setting = _varied(name)
    return setting.label, setting.read(value)


def _varied(name: str) -> Setting:
    setting = Recipe.setting(name)
    field = setting.label
    if field in _OWN_FLAG:
        raise ValueError(
            f"`{field}` cannot be varied. Received: --vary={field}=... {_OWN_FLAG[field]}."
        )
    if not setting.changes_result or setting.group == "export":
        raise ValueError(
            f"A varied field must change what is trained. Received: {field!r}, which does not. "
            f"Set --{field} for all trials."
        )
    return setting


def _is_range(setting: Setting, values: str) -> bool:
    # What may be a number or text has ranges of numbers alone.
    numbers = setting.kind in (int, float) or values.partition(":")[0].replace(".", "").isdigit()
    return ":" in values and numbers and setting.kind in (int, float, float | str)


def _parse_range(setting: Setting, text: str) -> Range:
    field, kind = setting.label, int if setting.kind is int else float
    low, high, *scale = text.split(":")
    try:
        ends = kind(low), kind(high)
    except ValueError as error:
        raise ValueError(
            f"A range of `{field}` must be LOW:HIGH or LOW:HIGH:log with two numbers of type "
            f"{kind.__name__}. Received: {field}={text}."
        ) from error
    if scale not in ([], [_LOG]):
        raise ValueError(
            f"A range must be LOW:HIGH or LOW:HIGH:log. Received: {field}={text}. "
            "Write ':log' or nothing after HIGH."
        )
    if not ends[0] < ends[1]:
        raise ValueError(
            f"A range must not be empty: LOW below HIGH. Received: {field}={text}. "
            "Swap its ends, or list single values."
        )
    if scale and ends[0] <= 0:
        raise ValueError(
            f"A logarithmic range must begin above 0. Received: {field}={text}. Raise LOW."
        )
    return Range(field, *ends, bool(scale))


def _product(axes: Iterable[tuple[str, tuple[Any, ...]]]) -> Iterator[dict[str, Any]]:
    names, values = zip(*axes, strict=True)
    for combination in itertools.product(*values):
        yield dict(zip(names, combination, strict=True))
