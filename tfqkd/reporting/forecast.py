"""What a run would do: which stages are done, which would be trained and why, and how long that takes."""

import dataclasses
import datetime
import os
import pathlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from tfqkd.recipe.recipe import Recipe
from tfqkd.storage import PARTIAL, look_at_json
from tfqkd.tables import Table
from tfqkd.training.directory import RunDirectory
from tfqkd.training.execution import (
    execution_of,
    front_of,
    load_data,
    load_general,
    require_capable,
    strategy_of,
    with_precision,
)
from tfqkd.training.history import read_history
from tfqkd.training.making import Maker
from tfqkd.training.presets import PAPER, Preset
from tfqkd.training.products import HISTORY_FILE, KEY_FILE, Products
from tfqkd.training.stage import Stage, walk

_MOST_NAMED = 3  # Settings that a reason names.
_LONGEST = 30  # Characters of a value in a reason.


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What would be done for a stage.

    Attributes:
        title: The stage's.
        parameters: Of its network.
        epochs: That are left; 0 for a stage that is done.
        why: Why it would be trained; "" for a stage that is done.
        seconds: How long its epochs take, after histories that are there; None without any.
    """

    title: str
    parameters: int
    epochs: int
    why: str
    seconds: float | None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.why


def forecast(
    recipe: Recipe,
    directory: str | os.PathLike[str],
    products: str | os.PathLike[str] | None = None,
    preset: Preset = PAPER,
) -> list[Forecast]:
    """Returns what `run` would do for each stage, in the order of training; it trains and writes nothing.

    Args:
        recipe: As for `run`.
        directory: As for `run`.
        products: As for `run`.
        preset: As for `run`.

    Raises:
        ValueError: If the directory belongs to another recipe, or a stage cannot be made.
    """
    path = pathlib.Path(directory)
    store = pathlib.Path(products) if products else path / "products"
    front = front_of(recipe)
    require_capable(front.CAPABILITIES, recipe)
    recipe = with_precision(RunDirectory(path, recipe, preset).recipe, front)
    strategy, execution = strategy_of(recipe, front), execution_of(recipe)
    data = load_data(recipe)
    general = load_general(recipe, data)
    maker = Maker(data, Products(store), front, strategy, execution, general=general)
    finished = list(_finished(store))
    counted: dict[str, int] = {}
    found = []
    for stage in walk(preset(recipe)):
        if isinstance(stage, Stage):
            name = stage.network
            if name not in counted:
                file = pathlib.Path(name)
                model = front.load(file) if file.exists() else maker.build(name)
                counted[name] = front.facts(model).parameters
            found.append(_forecast(stage, maker, finished, counted[name]))
    return found


def forecast_table(forecasts: Sequence[Forecast]) -> Table:
    """Returns the stages as a table, with the whole time in its last row."""
    table = Table("stage", "parameters", "epochs left", "time", "state", text=("state",))
    for each in forecasts:
        time = "" if each.is_done else _time(each.seconds)
        table.add(each.title, f"{each.parameters:,}", each.epochs, time, each.why or "done")
    left = [each for each in forecasts if not each.is_done]
    known = [each.seconds for each in left if each.seconds is not None]
    whole = _time(sum(known)) if len(known) == len(left) else "unknown"
    table.add("all", "", sum(each.epochs for each in left), whole, f"{len(left)} to train")
    return table


@dataclasses.dataclass(frozen=True)
class _Finished:
    """A finished product."""

    role: str
    name: str
    key: dict[str, Any]
    seconds: float | None


def _finished(store: pathlib.Path) -> Iterator[_Finished]:
    for file in sorted(store.glob(f"*/{KEY_FILE}")):
        key, damage = look_at_json(file, dict)
        if not damage:
            # The first epoch also traces the graph.
            every = [row["seconds"] for row in read_history(file.with_name(HISTORY_FILE))]
            seconds = statistics.median(every[1:] or every) if every else None
            role = file.parent.name.partition("-")[0]
            yield _Finished(role, file.parent.name, dict(_flat(key)), seconds)


def _forecast(
    stage: Stage, maker: Maker, finished: Sequence[_Finished], parameters: int
) -> Forecast:
    if maker.is_done(stage):
        return Forecast(stage.title, parameters, 0, "", None)
    key = dict(_flat(maker.key(stage)))
    alike = sorted(
        (each for each in finished if each.role == stage.role),
        key=lambda each: len(_differences(each.key, key)),
    )
    path = maker.path(stage).parent
    done = len(read_history(path.with_name(path.name + PARTIAL) / HISTORY_FILE))
    epochs = stage.training.epochs - done
    why = f"started, {done} epochs are done" if done else _why(alike[:1], key)
    measured = [each.seconds for each in alike if each.seconds is not None]
    seconds = epochs * measured[0] if measured else None
    return Forecast(stage.title, parameters, epochs, why, seconds)


def _why(nearest: Sequence[_Finished], key: dict[str, Any]) -> str:
    if not nearest:
        return "no product of its kind"
    (product,) = nearest
    differences = _differences(product.key, key)
    named = [
        f"{name} {_short(there)} there, {_short(here)} here"
        for name, (there, here) in list(differences.items())[:_MOST_NAMED]
    ]
    more = len(differences) - len(named)
    return f"unlike {product.name}: {'; '.join(named)}{f'; and {more} more' if more else ''}"


def _short(value: Any) -> str:
    return str(value) if len(str(value)) <= _LONGEST else f"{str(value)[: _LONGEST - 1]}…"


def _differences(there: dict[str, Any], here: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in dict.fromkeys((*here, *there)) if name not in ("title", "format")]
    return {
        name: (there.get(name), here.get(name))
        for name in names
        if there.get(name) != here.get(name)
    }


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _flat(each, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, value


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else str(datetime.timedelta(seconds=round(seconds)))
