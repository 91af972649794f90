"""What is on the disk: whole or not there, kept from other processes, told by its digest, read back."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from filelock import FileLock, Timeout

PARTIAL = ".partial"
"""Ends the name of what is not whole yet."""
_SCRATCH, _LOCK_FILE = ".tfqkd-", ".lock"


class OccupiedError(RuntimeError):
    """Another process has the lock; the message is what it wrote into the file."""


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a text file so that all of it exists or nothing."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def whole_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the path of a draft beside `path`, of its suffix; the file that is written there replaces `path`.

    A draft that a kill or an error left is overwritten by the next one.
    """
    draft = path.with_name(f"{path.stem}{PARTIAL}{path.suffix}")
    yield draft
    put_in_place(draft, path)


@contextlib.contextmanager
def staged(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a path to write to; the file or directory that is there when the block ends replaces `path`.

    The draft is in a hidden directory beside `path`, so that replacing is one rename. If the block raises,
    the draft is deleted and `path` stays as it was. What a process left that was killed is deleted too.

    Args:
        path: The file or directory to write. Directories above it are created.

    Raises:
        OSError: If its directory cannot be written.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    _delete_abandoned(path.parent)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=path.parent) as directory:
        scratch = pathlib.Path(directory)
        unlocked = scratch / ".unlocked"
        with locked(unlocked):
            # It is found by this name, and never without its lock.
            unlocked.rename(scratch / _LOCK_FILE)
            draft = scratch / path.name
            yield draft
            put_in_place(draft, path)


def put_in_place(draft: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a finished draft, a file or a directory in a directory of `path`'s disk, the name `path`.

    What it holds is on the disk before it has the name: the name must not outlast a loss of power that the
    contents do not. A directory that is there is moved beside the draft, and moved back if this fails.
    """
    for written in (draft, *draft.rglob("*")):
        _sync(written)
    previous = draft.with_name(f"{draft.name}.previous")
    if path.is_dir():
        # A directory cannot be renamed onto another.
        path.rename(previous)
    try:
        draft.replace(path)
    except OSError:
        if previous.exists():
            previous.rename(path)
        raise
    _sync(path.parent)


@contextlib.contextmanager
def locked(path: pathlib.Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Keeps other processes out of the block; waits for one that is inside.

    The kernel drops the lock of a process that dies, so a dead owner keeps nobody waiting.

    Args:
        path: The file of the lock, which stays.
        on_wait: Called once before waiting.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        if on_wait:
            on_wait()
        held = lock.acquire()
    with held:
        yield


@contextlib.contextmanager
def locked_at_once(path: pathlib.Path, owner: str = "") -> Iterator[None]:
    """Does as `locked`, but waits for nobody.

    Args:
        path: The file of the lock, which stays.
        owner: What is written into it, for others to read.

    Raises:
        OccupiedError: If another process is inside.
    """

    def sign(descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, owner.encode())

    lock = FileLock(path, fallback_to_soft=False, on_acquired=sign)
    try:
        held = lock.acquire(blocking=False)
    except Timeout as error:
        raise OccupiedError(path.read_text(errors="replace").strip()) from error
    with held:
        yield


def digest(*parts: Any) -> str:
    """Returns the SHA-256 of texts (UTF-8) and bytes, one after the other, in hexadecimal digits."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode() if isinstance(part, str) else part)
    return sha.hexdigest()


def file_digest(file: pathlib.Path) -> str:
    """Returns the SHA-256 of what a file holds, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of the names and digests of a directory's files; a file alone has the name "."."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    parts = ((str(file.relative_to(path)), bytes.fromhex(file_digest(file))) for file in files)
    return digest(*(part for pair in parts for part in pair))


def read_json(file: pathlib.Path, shape: Any, whole: pathlib.Path | None = None) -> Any:
    """Reads a JSON file that a run wrote.

    Args:
        file: The file.
        shape: As for `look_at_json`.
        whole: The product that it is a part of; the file itself if None.

    Raises:
        ValueError: If it is damaged.
    """
    value, damage = look_at_json(file, shape)
    if damage:
        raise ValueError(
            f"A file of a run must be unchanged since it was written. Received: {file} ({damage}). Remove "
            f"{whole or file}: the same bin/train command creates it again."
        )
    return value


def look_at_json(file: pathlib.Path, shape: Any) -> tuple[Any, str]:
    """Returns what a JSON file holds, and how it is damaged; "" if it is not.

    Args:
        file: The file.
        shape: What it must hold: a type or several, `{name: shape}` for an object that has these names,
            `[shape]` for a list of one or more, `[shape, ...]` for one of any number.
    """
    try:
        value = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError) as error:
        return None, str(error)
    return value, "" if _fits(value, shape) else "what it should hold is not in it"


def _fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, dict):
        named = isinstance(value, dict) and set(shape) <= set(value)
        return named and all(_fits(value[name], each) for name, each in shape.items())
    if isinstance(shape, list):
        enough = isinstance(value, list) and (bool(value) or ... in shape)
        return enough and all(_fits(each, shape[0]) for each in value)
    return isinstance(value, shape)


def _delete_abandoned(parent: pathlib.Path) -> None:
    for lock in parent.glob(f"{_SCRATCH}*/{_LOCK_FILE}"):
        with contextlib.suppress(OSError, OccupiedError), locked_at_once(lock):
            shutil.rmtree(lock.parent)


def _sync(path: pathlib.Path) -> None:
    """Makes a file, or the names in a directory, outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
