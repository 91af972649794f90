"""What is in the `products/` of a run, which runs use it, and how the rest of it goes."""

import contextlib
import dataclasses
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from tfqkd.storage import PARTIAL, OccupiedError, locked_at_once, read_json
from tfqkd.training.directory import (
    LOCK_FILE,
    RECIPE_FILE,
    USES_FILE,
    Uses,
)
from tfqkd.training.products import EXPORT, FORMATS, KEY_FILE, LOGITS, MEASURED
from tfqkd.training.results import RESULTS_FILE, Results

PRODUCTS = "products"
_USES = {"products": [str, ...], "views": int}
_NAME = re.compile(rf"({'|'.join(FORMATS)})-[0-9a-f]{{12}}({re.escape(PARTIAL)})?")
_DEPTHS = ("*", "*/*", "*/*/*")
"""Below the directory of all runs: runs, those of studies."""
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
    """A run directory, and what it says that it uses."""

    name: str
    uses: Uses
    finished: bool
    is_old: bool

    @classmethod
    def read(cls, path: pathlib.Path, root: pathlib.Path) -> "_User":
        file, finished = path / USES_FILE, (path / RESULTS_FILE).exists()
        if file.exists():
            listed = read_json(file, _USES)
            uses, is_old = Uses(tuple(listed["products"]), listed["views"]), False
        else:
            # A tfqkd before this one listed nothing: the run uses the models of its results.
            models = Results.read(path).models if finished else ()
            uses, is_old = Uses(tuple(model.stage for model in models)), True
        return cls(str(path.relative_to(root)), uses, finished, is_old)

    def used(self, keys: dict[str, dict[str, Any]]) -> set[str]:
        """Returns the names of the products that the run uses, of those that this version can use."""

        def is_current(name: str) -> bool:
            same = keys[name].get("format") == FORMATS[_stage_of(name)]
            return same and all(map(is_current, filter(keys.__contains__, _inputs(keys[name]))))

        def is_used(name: str) -> bool:
            stage = _stage_of(name)
            if stage == LOGITS:
                # Its teacher is known by its weights alone.
                return keys[name]["view"] < self.uses.views
            if stage == MEASURED or (stage == EXPORT and self.is_old):
                return set(_inputs(keys[name])) <= set(self.uses.products)
            return name in self.uses.products

        return {name for name in keys if is_current(name) and is_used(name)}


def inventory(run_directory: pathlib.Path) -> list[Product]:
    """Returns what is in a run's `products/`, the oldest first.

    A product counts as used if the run says so (`uses.json`), or another run in or beside the directory, such
    as the trials of a study, and runs that share its products. So do unfinished products while any of these
    runs is unfinished, and kept logits while any of them keeps as many views.

    Args:
        run_directory: Of a run or a study.

    Raises:
        ValueError: If it has no products, or a file of a run is damaged.
    """
    directory = run_directory.resolve() / PRODUCTS
    if not directory.is_dir():
        raise ValueError(
            "A run directory must have `products`, or share those of another run. Received: "
            f"{run_directory}, which has none. Name the directory that has them."
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
            role=keys[entry.name].get("title", "") if entry.name in keys else "unfinished",
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
            "Products may only be removed while no process works on a run that may use them. Received: "
            f"{working[0]}, which a process works on. Wait for it, or stop it."
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
    # The last two are of a tfqkd before this one.
    names = ("start", "model", "student", "quantized")
    return [*key.get("teachers", ()), *(key[name] for name in names if name in key)]
