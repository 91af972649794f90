"""Products: what a stage makes, kept under the fingerprint of all that it depends on.

Two runs whose teachers depend on the same things share one teacher: it is trained once. A product is a
directory; while it is made it lies under a `.partial` name, and a rename makes it whole.
"""

import fcntl
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfqkd.version import __version__

_KEY_FILE = "product.json"


class Products:
    """A directory of products.

    Args:
        directory: Where they are kept; made if it is missing. Runs may share it.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def get(
        self, stage: str, key: dict[str, Any], make: Callable[[pathlib.Path], None]
    ) -> pathlib.Path:
        """Returns the product's directory, making it if it is not there.

        Args:
            stage: What the product is; begins its name.
            key: All that it depends on, as JSON values.
            make: Called with the directory to write to, which may hold what an interrupted call left.

        Returns:
            A directory with what `make` wrote, and the key as `product.json`.
        """
        path = self.path(stage, key)
        if path.is_dir():
            return path
        with self._lock(path):
            if not path.is_dir():
                partial = path.with_name(path.name + ".partial")
                partial.mkdir(exist_ok=True)
                make(partial)
                (partial / _KEY_FILE).write_text(_canonical(key) + "\n")
                partial.rename(path)
        return path

    def path(self, stage: str, key: dict[str, Any]) -> pathlib.Path:
        """Returns where the product is or will be."""
        return self.directory / f"{stage}-{fingerprint(key)}"

    @contextmanager
    def _lock(self, path: pathlib.Path) -> Iterator[None]:
        # The kernel drops the lock of a process that dies, so a dead owner keeps nobody waiting.
        with path.with_name(path.name + ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"Another process makes {path.name}; waiting for it.", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def fingerprint(key: dict[str, Any]) -> str:
    """Returns 12 hexadecimal digits that tell this key from any other (SHA-256)."""
    return hashlib.sha256(_canonical(key).encode()).hexdigest()[:12]


def file_fingerprint(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, or of the files of a directory with their names."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _canonical(key: dict[str, Any]) -> str:
    return json.dumps({**key, "tfqkd": __version__}, indent=2, sort_keys=True)
