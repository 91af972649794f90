"""How a setting is declared: its default, its help, and the values that it takes, in one place."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.core.weights import is_weight

FLOAT_BITS = 32


@dataclasses.dataclass(frozen=True)
class Rule:
    """A range of values.

    Attributes:
        text: What a value must be, for messages: "0 or more".
        holds: Whether a value of the right type is in it.
    """

    text: str
    holds: Callable[[Any], object]


def at_least(low: int) -> Rule:
    """From `low` upwards."""
    return Rule(f"{low} or more", lambda value: value >= low)


def above(low: int) -> Rule:
    """Above `low`."""
    return Rule(f"above {low}", lambda value: value > low)


def between(low: float, high: float) -> Rule:
    """From `low` to `high`, both included."""
    return Rule(f"{low} to {high}", lambda value: low <= value <= high)


SHARE = Rule("in [0, 1]", lambda value: 0 <= value <= 1)
BELOW_ONE = Rule("in [0, 1)", lambda value: 0 <= value < 1)
WEIGHT = Rule("0 or more, or balanced:R with R above 0, such as balanced:1", is_weight)
WIDTH = Rule("2 to 8, or 32 for float", lambda value: 2 <= value <= 8 or value == FLOAT_BITS)


def setting(
    default: Any,
    help: str,
    *,
    rule: Rule | None = None,
    choices: Sequence[str] = (),
    form: Callable[[Any], Any] | None = None,
    changes_result: bool = True,
) -> Any:
    """A field of a group of settings; its annotation is the type that its values have.

    Args:
        default: Its value where none is given.
        help: What it does, as a text that can be read alone; for `--help` and docs/recipe.md.
        rule: The range of its values.
        choices: All its values, where they are few.
        form: Gives a value its one form.
        changes_result: Whether another value gives another model or file; False for where data are, and how
            the same is computed.
    """
    metadata = {
        "help": help,
        "rule": rule,
        "choices": tuple(choices),
        "form": form,
        "changes_result": changes_result,
    }
    return dataclasses.field(default=default, metadata=metadata)


def overriding(base: type, name: str, module: str, **defaults: Any) -> Any:
    """Makes a group with the fields of `base`, in which None stands for what the base group says.

    Args:
        base: The group.
        name: Of the new class.
        module: Where the new class is found by its name.
        **defaults: What it says itself where nothing is given.
    """
    fields = [
        (
            field.name,
            field.type,
            dataclasses.field(default=defaults.get(field.name), metadata=field.metadata),
        )
        for field in dataclasses.fields(base)
    ]
    namespace = {"__module__": module, "__doc__": f"{base.__name__}, where None inherits."}
    return dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True, namespace=namespace)
