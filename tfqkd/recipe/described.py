"""All settings as they are described to people: for `--help`, and for docs/recipe.md.

`python -m tfqkd.recipe.described` writes the tables of docs/recipe.md.
"""

import dataclasses
import pathlib
import typing
from collections.abc import Sequence

from tfqkd.recipe.methods import METHODS
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting_names import Setting
from tfqkd.recipe.values import to_text

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "recipe.md"
_START, _END = "<!-- settings: python -m tfqkd.recipe.described -->\n", "<!-- end of settings -->\n"
_KINDS = {
    bool: "true|false",
    int: "INTEGER",
    float: "NUMBER",
    str: "TEXT",
    int | str: "SIZE",
    float | str: "NUMBER|balanced:R",
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line about a setting.

    Attributes:
        name: As a flag has it, without its dashes.
        short: Its short name, or "".
        value: What its values look like: `NUMBER`, `constant|gradual`.
        default: Its default as text.
        help: What it does.
    """

    name: str
    short: str
    value: str
    default: str
    help: str


def entries(methods: Sequence[str] = ()) -> dict[str, list[Entry]]:
    """Returns the entries of each group. What a stage may say for itself of `training` is one entry.

    Args:
        methods: Whose settings stand among them.
    """
    groups: dict[str, list[Entry]] = {}
    for setting in Recipe.settings(methods).values():
        group = groups.setdefault(setting.group, [])
        if not setting.base:
            group.append(_entry(setting))
        elif not any(entry.name.endswith(".training.*") for entry in group):
            group.append(_own_training(setting.group))
    return groups


def about(group: str) -> str:
    """Returns what a group is, in one line."""
    (kind,) = (type(f.default) for f in dataclasses.fields(Recipe) if f.name == group)
    return str(kind.__doc__).partition("\n")[0].strip().rstrip(".")


def page(text: str) -> str:
    """Returns the text of docs/recipe.md with tables of the settings as they are."""
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    return f"{before}{_START}{_tables()}{_END}{after}"


def _entry(setting: Setting) -> Entry:
    short = "" if setting.label == setting.name else setting.label
    value, kind = "|".join(setting.choices), setting.kind
    if typing.get_origin(kind) is tuple:
        value = f"{_KINDS[typing.get_args(kind)[0]]},..."
    value = value or _KINDS[kind]
    return Entry(setting.name, short, value, to_text(setting.default), setting.help)


def _own_training(stage: str) -> Entry:
    own = [
        f"{setting.name.rpartition('.')[2]}={to_text(setting.default)}"
        for setting in Recipe.settings().values()
        if setting.group == stage and setting.base and setting.default is not None
    ]
    text = f"Any setting of --training, for the {stage} stage alone, such as --{stage}.training.epochs."
    return Entry(f"{stage}.training.*", "", "VALUE", ", ".join(own), text)


def _tables() -> str:
    lines = []
    for group, rows in entries(METHODS).items():
        lines += [f"\n`{group}`: {about(group)[0].lower()}{about(group)[1:]}.\n"]
        lines += ["| flag | default | what |", "|---|---|---|"]
        for row in rows:
            short = f", `--{row.short}`" if row.short else ""
            default = f"`{row.default}`" if row.default else ""
            text = row.help.replace("|", "·").replace("*", r"\*")
            lines.append(f"| `--{row.name}`{short} | {default} | {text} |")
    return "\n".join([*lines, "\n"])


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
