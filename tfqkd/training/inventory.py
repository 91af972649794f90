"""What lies in the `products/` of a run, which runs use it, and how the rest of it goes."""

import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from tfqkd.storage import PARTIAL, OccupiedError, locked_at_once
from tfqkd.training.directory import (
    LOCK_FILE,
    RECIPE_FILE,
    REPLICAS_FILE,
    RESULTS_FILE,
    read_json,
    read_recipe,
)
from tfqkd.training.products import FORMATS, KEY_FILE
from tfqkd.training.recipe import Recipe
from tfqkd.training.rules import is_model_path
from tfqkd.training.settings import EXPORT, QUANTIZED, STUDENT, TEACHER

PRODUCTS = "products"
MEASURED, LOGITS = "measured", "logits"
_ORDER = (TEACHER, STUDENT, QUANTIZED, EXPORT, MEASURED, LOGITS)
_NAME = re.compile(rf"({'|'.join(FORMATS)})-[0-9a-f]{{12}}({re.escape(PARTIAL)})?")
_DEPTHS = ("*", "*/*", "*/*/*")
"""Below the directory of all runs: runs, those of comparisons, those of studies."""
_GOING = ".tfqkd-pruned-"


@dataclasses.dataclass(frozen=True)
class Product:
    """A product, whole or unfinished.

    Attributes:
        path: Its directory.
        stage: What made it: `teacher`, `student`, `quantized`, `export`, `measured` or `logits`.
        role: What it is, for people.
        bytes: Of all its files.
        modified: When it was made or last written to, in seconds since 1970.
        users: The runs that use it.
        locked: Whether a process makes it now.
    """

    path: pathlib.Path
    stage: str
    role: str
    bytes: int
    modified: float
    users: tuple[str, ...]
    locked: bool

    @property
    def idle(self) -> bool:
        """Whether nothing uses it."""
        return not (self.users or self.locked)


@dataclasses.dataclass(frozen=True)
class _User:
    """A run directory, and the settings of the products that it uses."""

    name: str
    recipe: Recipe
    replicas: str
    finished: bool

    @classmethod
    def read(cls, path: pathlib.Path, root: pathlib.Path) -> "_User":
        file = path / REPLICAS_FILE
        replicas = file.read_text(errors="replace").strip() if file.exists() else "1"
        name = str(path.relative_to(root))
        return cls(name, read_recipe(path), replicas, (path / RESULTS_FILE).exists())

    def used(self, keys: dict[str, dict[str, Any]]) -> set[str]:
        """Returns the names of the products that the recipe uses, whatever images they were made of."""
        named = [
            name for name in (*self.recipe.teachers(), self.recipe.student) if is_model_path(name)
        ]
        parts = [set(pathlib.Path(name).absolute().parts) for name in named]
        used: set[str] = set().union(*parts)
        # Of other models the key holds what is in the file.
        files = any(not any(map(_NAME.fullmatch, each)) for each in parts)
        # Each stage's inputs are products of the stages before it.
        for stage in _ORDER:
            for name, key in keys.items():
                inputs_used = all(
                    model in used or (files and model not in keys) for model in _inputs(key)
                )
                if _stage_of(name) == stage and inputs_used and self._asks_for(stage, key):
                    used.add(name)
        return used

    def _asks_for(self, stage: str, key: dict[str, Any]) -> bool:
        """Whether the settings of a product are the recipe's."""
        recipe = self.recipe
        if key.get("format") != FORMATS[stage]:
            return False
        if stage == MEASURED:
            return True
        if stage == LOGITS:
            # Its teacher is known by its weights alone.
            return bool(recipe.teachers()) and key["view"] < recipe.teacher_views
        settings = recipe.stage_settings(stage)
        asked = [settings]
        if stage == TEACHER:
            asked = [{**settings, TEACHER: name} for name in recipe.teachers()]
        taught = (
            recipe.distillation_settings() if stage == STUDENT and recipe.teaches_float else None
        )
        return (
            key.get("settings") in _plain(asked)
            and key.get("distillation") == _plain(taught)
            and (stage == EXPORT or str(key.get("replicas", 1)) == self.replicas)
        )


def inventory(run_directory: pathlib.Path) -> list[Product]:
    """Returns what lies in a run's `products/`, the oldest first.

    A product counts as used if its settings are those of the run's recipe, or of another run's in or beside
    the directory, such as the variants of a comparison, the trials of a study, and runs that share its
    products. The images are not read: what was made of other images with the same settings counts as used.
    So do unfinished products while any of these runs is unfinished, and kept logits while any of them keeps
    as many views.

    Args:
        run_directory: Of a run, a comparison or a study.

    Raises:
        ValueError: If it has no products, or the recipe of a run cannot be read.
    """
    directory = run_directory.resolve() / PRODUCTS
    if not directory.is_dir():
        raise ValueError(
            "Products lie in `products` of a run directory, or of the one that shares its own. "
            f"Received: {run_directory}, which has none. Name the directory that holds them."
        )
    entries = [
        entry for entry in directory.iterdir() if entry.is_dir() and _NAME.fullmatch(entry.name)
    ]
    whole = [entry for entry in entries if not entry.name.endswith(PARTIAL)]
    keys = {entry.name: read_json(entry / KEY_FILE, dict) for entry in whole}
    root = directory.parent.parent
    users = [_User.read(path, root) for path in _runs(root, RECIPE_FILE)]
    used = {user.name: user.used(keys) for user in users}
    unfinished = tuple(user.name for user in users if not user.finished)

    def product(entry: pathlib.Path) -> Product:
        names = tuple(name for name, products in used.items() if entry.name in products)
        files = [file.stat() for file in entry.rglob("*") if file.is_file()]
        return Product(
            path=entry,
            stage=_stage_of(entry.name),
            role=_role(entry.name, keys.get(entry.name)),
            bytes=sum(file.st_size for file in files),
            modified=max(file.st_mtime for file in (entry.stat(), *files)),
            users=names if entry.name in keys else unfinished,
            locked=_is_locked(_lock_of(entry)),
        )

    return sorted(map(product, entries), key=lambda each: (each.modified, each.path.name))


def prune(run_directory: pathlib.Path) -> list[Product]:
    """Removes from a run's `products/` what nothing uses, and returns it.

    Raises:
        RuntimeError: If a process works on a run in or beside the directory.
        ValueError: As for `inventory`.
    """
    root = run_directory.resolve().parent
    working = [path for path in _runs(root, LOCK_FILE) if _is_locked(path / LOCK_FILE)]
    if working:
        raise RuntimeError(
            "Products may be removed while no process works on a run that may use them. "
            f"Received: {working[0]}, on which one works. Wait for it, or end it."
        )
    for left in (run_directory / PRODUCTS).glob(f"{_GOING}*"):
        shutil.rmtree(left)
    removed = []
    for product in inventory(run_directory):
        if product.idle and _remove(product.path):
            removed.append(product)
    return removed


def _remove(path: pathlib.Path) -> bool:
    """Removes a product under its lock, whole or not at all; returns whether it did."""
    with contextlib.suppress(OccupiedError), locked_at_once(_lock_of(path)):
        # Out of sight at once: a half of it must not be taken for the whole.
        with tempfile.TemporaryDirectory(prefix=_GOING, dir=path.parent) as going:
            path.rename(pathlib.Path(going) / path.name)
        return True
    return False


def _runs(root: pathlib.Path, file: str) -> Iterator[pathlib.Path]:
    for depth in _DEPTHS:
        yield from sorted(found.parent for found in root.glob(f"{depth}/{file}"))


def _lock_of(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name.removesuffix(PARTIAL) + ".lock")


def _is_locked(lock: pathlib.Path) -> bool:
    if not lock.exists():
        return False
    try:
        with locked_at_once(lock):
            return False
    except OccupiedError:
        return True


def _stage_of(name: str) -> str:
    return name.partition("-")[0]


def _inputs(key: dict[str, Any]) -> list[str]:
    """The models that a product was made of: names of products, or digests of files."""
    one = [key[name] for name in ("student", "quantized", "model") if name in key]
    return [*key.get("teachers", ()), *one]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _role(name: str, key: dict[str, Any] | None) -> str:
    stage = _stage_of(name)
    if key is None:
        return "unfinished"
    settings = key.get("settings", {})
    if stage in (TEACHER, STUDENT):
        return f"float {stage} {settings.get(stage, '')}, seed {settings.get('pretrain_seed')}"
    if stage == QUANTIZED:
        return f"{settings.get('bits')}-bit student, seed {settings.get('seed')}"
    inputs: dict[str, Sequence[str]] = {
        EXPORT: ("exported files of", key.get("quantized", "")),
        MEASURED: ("figures of", key.get("model", "")),
        LOGITS: ("teacher's logits, view", str(key.get("view", ""))),
    }
    return " ".join(inputs[stage])
