"""Products: what a stage makes, kept under the fingerprint of all that it depends on.

Two runs whose teachers depend on the same things share one teacher: it is trained once. A product is a
directory; while it is made it is under a `.partial` name, and a rename makes it whole. Its checkpoints go
once it is whole: nobody goes on from them any more.
"""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tfqkd.fronts.workers import Workers
from tfqkd.storage import PARTIAL, digest, locked, put_in_place, tree_digest
from tfqkd.training.stage import ROLES

CHECKPOINTS = "checkpoints"
"""Where in an unfinished product a training keeps what it goes on with."""
EXPORT, MEASURED, LOGITS = "export", "measured", "logits"
FORMATS = dict.fromkeys((*ROLES, EXPORT, MEASURED, LOGITS), 1)
"""Of what is made: raise its number when it comes to make another thing of the same key."""
KEY_FILE = "product.json"
MODEL_FILE, HISTORY_FILE = "model.keras", "history.csv"
SUMMARY_FILE, LAYERS_FILE = "quantization.txt", "quantization.json"
REPORTS_FILE, FIGURES_FILE = "reports.json", "figures.json"


class Products:
    """A directory of products.

    Args:
        directory: Where they are kept; made with the first of them. Runs may share it.
        workers: Those that make each product together, of whom the chief alone writes; all must ask for the
            same products in the same order. None for a process that makes its products by itself.
    """

    def __init__(self, directory: pathlib.Path, workers: Workers | None = None) -> None:
        self.directory = directory
        self._workers = workers
        self._agreed: set[pathlib.Path] = set()

    def get(
        self,
        stage: str,
        key: dict[str, Any],
        make: Callable[[pathlib.Path], None],
        title: str = "",
    ) -> pathlib.Path:
        """Returns the product's directory, making it if it is not there.

        Args:
            stage: What the product is; begins its name.
            key: All that it depends on, as JSON values.
            make: Called with the directory to write to, which may hold what an interrupted call left.
            title: What it is, for people.

        Returns:
            A directory with what `make` wrote, and the key as `product.json`, with the stage's format and the
            title.
        """
        path, key = self.path(stage, key), _with_format(stage, key)
        if title:
            key["title"] = title
        if self._workers is None or self._workers.is_chief:
            self.directory.mkdir(parents=True, exist_ok=True)
        if self._workers and self._workers.count > 1:
            self._get_together(path, key, make, self._workers)
        elif not path.is_dir() or _holds_checkpoints(path):
            with _lock(path):
                _make(path, key, make)
        return path

    def _get_together(
        self,
        path: pathlib.Path,
        key: dict[str, Any],
        make: Callable[[pathlib.Path], None],
        workers: Workers,
    ) -> None:
        if path in self._agreed:
            return
        with _lock(path) if workers.is_chief else nullcontext():
            # One answer for all: another run may finish the product between two looks at it.
            there = workers.chief_says(path.is_dir())
            if workers.is_chief:
                _make(path, key, make)
            elif not there:
                with tempfile.TemporaryDirectory() as scratch:
                    # Its own files are dropped; what an interrupted call left is the chief's.
                    left = _partial(path).absolute() / CHECKPOINTS
                    (pathlib.Path(scratch) / CHECKPOINTS).symlink_to(left)
                    make(pathlib.Path(scratch))
            workers.wait()
        workers.require_same("products", int(path.is_dir()))
        self._agreed.add(path)

    def path(self, stage: str, key: dict[str, Any]) -> pathlib.Path:
        """Returns where the product is or will be."""
        return self.directory / f"{stage}-{fingerprint(_with_format(stage, key))}"

    def begun(self, stage: str, key: dict[str, Any]) -> int:
        """Returns how many bytes of the product an interrupted call has left, to go on with."""
        files = _partial(self.path(stage, key)).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


def _lock(path: pathlib.Path) -> AbstractContextManager[None]:
    def say() -> None:
        print(f"Another process makes {path.name}; waiting for it.", flush=True)

    return locked(path.with_name(path.name + ".lock"), say)


def _partial(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + PARTIAL)


def _make(path: pathlib.Path, key: dict[str, Any], make: Callable[[pathlib.Path], None]) -> None:
    """Makes a product whole, whatever of that was done before; under its lock."""
    if not path.is_dir():
        partial = _partial(path)
        partial.mkdir(exist_ok=True)
        make(partial)
        (partial / KEY_FILE).write_text(_canonical(key) + "\n")
        put_in_place(partial, path)
    # Not before: a run that is killed here would have nothing to go on with.
    if _holds_checkpoints(path):
        shutil.rmtree(path / CHECKPOINTS)


def _holds_checkpoints(path: pathlib.Path) -> bool:
    """Whether a product has checkpoints to be removed: a kill, or tfqkd before it did that, has left them."""
    # A store that others have filled may be there for reading alone.
    return (path / CHECKPOINTS).is_dir() and os.access(path, os.W_OK)


def _with_format(stage: str, key: dict[str, Any]) -> dict[str, Any]:
    return {**key, "format": FORMATS.get(stage, 1)}


def model_key(path: pathlib.Path) -> str:
    """Returns what a model is, for a key: the product that it is in, or the digest of its contents."""
    return path.parent.name if (path.parent / KEY_FILE).exists() else tree_digest(path)


def fingerprint(key: dict[str, Any]) -> str:
    """Returns 12 hexadecimal digits that tell this key from any other (SHA-256)."""
    return digest(_canonical(key))[:12]


def _canonical(key: dict[str, Any]) -> str:
    return json.dumps(key, indent=2, sort_keys=True)
