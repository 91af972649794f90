"""A `Recipe` says everything about a run; pure Python, so that flags are checked before TensorFlow loads."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tfqkd.recipe import json_form, rules
from tfqkd.recipe.data import AUTO_STREAM, Data
from tfqkd.recipe.distil import Distil
from tfqkd.recipe.export import Export
from tfqkd.recipe.methods import made, method_of, settings_of_method
from tfqkd.recipe.models import NO_TEACHER
from tfqkd.recipe.networks import Student, Teacher
from tfqkd.recipe.progressive import Progressive
from tfqkd.recipe.quantize import Quantize
from tfqkd.recipe.quantized import Quantized
from tfqkd.recipe.run import AUTO_PRECISION, Run
from tfqkd.recipe.setting import FLOAT_BITS
from tfqkd.recipe.setting_names import Setting, full_name, replaced, settings_of, value_of
from tfqkd.recipe.training import Training

TEACHER, STUDENT, QUANTIZED = TRAINED = ("teacher", "student", "quantized")
_VIEWS = 16  # Of a teacher cache that is asked for without a number.


@dataclasses.dataclass(frozen=True, init=False)
class Recipe:
    """What a run is: data, models, how each stage trains, and what is exported.

    Settings are named as the flags of `bin/train`: with their group, or by their short name.

    Example:
        ```python
        recipe = Recipe({"training.epochs": 20}, dataset="digits", student="cnn4", teacher="cnn16")
        recipe.training_of("teacher").epochs
        recipe.changed(temperature=4.0)
        ```

    Args:
        values: Settings by name.
        **named: Those whose name has no dot; or, without any other, groups: `distil=Distil(temperature=4.0)`.

    Raises:
        ValueError: If a name is unknown or a value breaks a rule; the error names the setting.
    """

    data: Data = dataclasses.field(default=Data())
    teacher: Teacher = dataclasses.field(default=Teacher())
    student: Student = dataclasses.field(default=Student())
    training: Training = dataclasses.field(default=Training())
    quantize: Quantize = dataclasses.field(default=Quantize())
    quantized: Any = dataclasses.field(default=Quantized())
    distil: Distil = dataclasses.field(default=Distil())
    progressive: Progressive = dataclasses.field(default=Progressive())
    run: Run = dataclasses.field(default=Run())
    export: Export = dataclasses.field(default=Export())

    def __init__(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        groups = _groups(named, values)
        given = {} if groups else _by_full_name([*(values or {}).items(), *named.items()])
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, groups.get(field.name, field.default))
        methods = given.get("quantized.methods", self.quantized.methods)
        methods = _SETTINGS["quantized.methods"].checked(methods)
        _require_asked(given, methods)
        checked = {
            name: setting.checked(given[name] if name in given else self._current(setting))
            for name, setting in self.settings(methods).items()
        }
        if checked["teacher.cache"] and not checked["teacher.views"]:
            checked["teacher.views"] = _VIEWS
        for field in dataclasses.fields(self):
            start = f"{field.name}."
            own = {
                name.removeprefix(start): value
                for name, value in checked.items()
                if name.startswith(start) and not method_of(name)
            }
            object.__setattr__(self, field.name, replaced(getattr(self, field.name), own))
        asked = tuple(made(name, _of_method(name, checked)) for name in methods)
        quantized = dataclasses.replace(self.quantized, own=asked)
        object.__setattr__(self, "quantized", quantized)
        rules.check(self)

    @classmethod
    def settings(cls, methods: Iterable[str] = ()) -> Mapping[str, Setting]:
        """Returns all settings by name, in the order of their groups; then those of methods."""
        own = [settings_of_method(name) for name in methods]
        return {**_SETTINGS, **{name: each for method in own for name, each in method.items()}}

    @classmethod
    def setting(cls, name: str) -> Setting:
        """Returns the setting of a name, short or whole.

        Raises:
            ValueError: If there is none.
        """
        method = method_of(name)
        known = settings_of_method(method) if method else _SETTINGS
        return known[full_name(name, known)]

    def _current(self, setting: Setting) -> Any:
        if method_of(setting.name) in ("", *(method.name for method in self.quantized.own)):
            return value_of(self, setting.name)
        return setting.default

    def value(self, name: str) -> Any:
        """Returns the value of a setting; that of `training` where a stage has none of its own.

        Raises:
            ValueError: If there is no such setting.
        """
        setting = self.setting(name)
        value = self._current(setting)
        return value_of(self, setting.base) if value is None and setting.base else value

    def changed(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> "Recipe":
        """Returns the recipe with other values in some settings, named as for `Recipe`.

        The settings of a method that it no longer has are those by default.

        Raises:
            ValueError: If a name is unknown or a value breaks a rule.
        """
        given = _by_full_name([*(values or {}).items(), *named.items()])
        kept = ("", *given.get("quantized.methods", self.quantized.methods))
        there = {
            name: value_of(self, name)
            for name in self.settings(self.quantized.methods)
            if method_of(name) in kept
        }
        return Recipe({**there, **given})

    def training_of(self, stage: str) -> Training:
        """Returns how a stage trains: what it says itself, and `training` for the rest."""
        own = vars(getattr(self, stage).training)
        said = {name: value for name, value in own.items() if value is not None}
        return dataclasses.replace(self.training, **said)

    def seed_of(self, stage: str) -> int:
        """Returns the seed of a stage."""
        own = stage == QUANTIZED or self.run.pretrain_seed < 0
        return self.run.seed if own else self.run.pretrain_seed

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher's logits enter the loss at any time."""
        distil = self.distil
        silent = distil.schedule in ("constant", "step") or distil.coefficient_end == 0
        return not (
            self.teacher.network == NO_TEACHER
            or distil.soft_loss == "none"
            or (distil.coefficient == 0 and silent)
        )

    @property
    def asks_teacher(self) -> bool:
        """Whether a method of the quantized stage reads the teacher, whatever the soft loss is."""
        methods = any(method.asks_teacher for method in self.quantized.own)
        return methods and self.teacher.network != NO_TEACHER

    @property
    def teaches_float(self) -> bool:
        """Whether the teacher's logits enter the loss of the float student too."""
        return self.distil.float_student and self.has_teacher

    @property
    def distils(self) -> bool:
        """Whether the quantized stage weighs its losses at all: a teacher, or the control without one."""
        return self.has_teacher or self.distil.soft_loss == "none"

    @property
    def title(self) -> str:
        """What the last stage trains, for tables and progress: "ternary student, gradual coefficient"."""
        kind, bits = self.quantize.kind, self.quantize.activation_bits
        if bits != FLOAT_BITS:
            kind += f" ({bits}-bit activations)"
        if self.has_teacher:
            return f"{kind} student, {self.distil.schedule} coefficient"
        if self.asks_teacher:
            return f"{kind} student, {' and '.join(self.quantized.methods)}"
        return f"{kind} student, {'control' if self.distils else 'no teacher'}"

    def teachers(self) -> tuple[str, ...]:
        """Returns the teachers' names or paths; none if no teacher is asked."""
        asked = self.has_teacher or self.asks_teacher
        return tuple(self.teacher.network.split(",")) if asked else ()

    def resumed_as(self, there: "Recipe") -> "Recipe":
        """Returns this recipe with the values that the run of `there` chose for its machine."""
        left = {"run.mixed_precision": AUTO_PRECISION, "data.stream": AUTO_STREAM}
        chosen = {
            name: there.value(name) for name, auto in left.items() if self.value(name) == auto
        }
        return self.changed(chosen) if chosen else self

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """Returns the settings that give another result: name to (this, other)."""
        found = {}
        settings = self.settings({*self.quantized.methods, *other.quantized.methods})
        for name, setting in settings.items():
            pair = self.value(name), other.value(name)
            if setting.changes_result and pair[0] != pair[1]:
                found[name] = pair
        for name in [name for name in found if name.startswith("training.")]:
            stages = [f"{stage}.{name}" for stage in TRAINED]
            # `training` is what the stages make of it: named once where all three differ in the same way.
            same = all(found.get(stage) == found[name] for stage in stages)
            for each in stages if same else [name]:
                del found[each]
        return {settings[name].label: pair for name, pair in found.items()}

    def to_json(self) -> str:
        """Returns the recipe as JSON, without what is inherited."""
        values: dict[str, Any] = {}
        for name, setting in self.settings(self.quantized.methods).items():
            value = value_of(self, name)
            if value is not None or setting.default is not None:
                values[name] = value
        return json_form.text_of(values)

    @classmethod
    def from_json(cls, text: str, *, finished: bool = False) -> "Recipe":
        """Reads what `to_json` wrote.

        Args:
            text: The JSON.
            finished: Whether it is of something finished, which may be read though it has the names of
                before.

        Raises:
            ValueError: If it is not a JSON object of known settings.
        """
        return cls(json_form.values_of(text, finished=finished))


_SETTINGS = settings_of(Recipe)


def _groups(named: Mapping[str, Any], values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the groups that a recipe is made of; none if it is made of single settings."""
    groups = {name: value for name, value in named.items() if dataclasses.is_dataclass(value)}
    if groups and (values or len(groups) < len(named)):
        raise ValueError(
            "A recipe takes either groups or settings by name. Received: both. `changed` takes names."
        )
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Recipe)}
    for name, group in groups.items():
        if type(group) is not kinds.get(name):
            raise ValueError(
                f"A recipe's groups are {', '.join(kinds)}. "
                f"Received: {name}, of the class {type(group).__name__}."
            )
    return groups


def _require_asked(given: Iterable[str], methods: tuple[str, ...]) -> None:
    for name in given:
        method = method_of(name)
        if method and method not in methods:
            raise ValueError(
                f"`{name}` belongs to a method that is not in use. Received: {name} with "
                f"quantized.methods={','.join(methods)}. Add "
                f"--quantized.methods={','.join([*methods, method])}."
            )


def _of_method(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if method_of(name) == method}


def _by_full_name(given: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {Recipe.setting(name).name: value for name, value in given}
