"""Logits on disk: written in blocks, resumable and checksummed."""

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np

from tfqkd.storage import digest, write_atomically

BYTES_PER_LOGIT = 2
_LOGITS_FILE = "logits.f16"
_BLOCKS_FILE = "blocks.json"
_BLOCK = 4096  # Examples in a block: what a kill loses at most.
_LARGEST = float(np.finfo(np.float16).max)


def write_logits(
    directory: pathlib.Path,
    count: int,
    classes: int,
    logits_of: Callable[[int, int], np.ndarray],
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Writes the logits of `count` examples as float16, or resumes where an interrupted call stopped.

    Whatever the moment a writer dies in, the blocks that are listed are complete on the disk: their
    bytes are forced there before their digest is listed.

    Args:
        directory: An existing directory for the two files: logits, and a digest for each block.
        count: Number of examples.
        classes: Number of classes.
        logits_of: Called with (start, stop), returns float logits `[stop - start, classes]`.
        progress: Called with the number of examples that are done, after each block.

    Raises:
        ValueError: If logits have another shape, or are no finite float16 numbers.
    """
    path = directory / _LOGITS_FILE
    digests = _listed(directory)
    row = classes * BYTES_PER_LOGIT
    with path.open("r+b" if path.exists() else "w+b") as file:
        digests = digests[: _valid_blocks(path, digests, count, row)]
        done = min(len(digests) * _BLOCK, count)
        file.truncate(done * row)
        file.seek(done * row)
        progress(done)
        while done < count:
            stop = min(done + _BLOCK, count)
            block = _checked(logits_of(done, stop), (stop - done, classes)).tobytes()
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            digests.append(digest(block))
            write_atomically(directory / _BLOCKS_FILE, json.dumps(digests))
            done = stop
            progress(done)


def whole_logits(directory: pathlib.Path, count: int, classes: int) -> pathlib.Path:
    """Returns the file that `write_logits` wrote, after comparing it with its digests.

    Args:
        directory: Where it was written.
        count: Number of examples.
        classes: Number of classes.

    Returns:
        A file that holds float16 `[count, classes]` and nothing else.

    Raises:
        ValueError: If the files are missing, incomplete or damaged.
    """
    path = directory / _LOGITS_FILE
    digests = _listed(directory)
    row = classes * BYTES_PER_LOGIT
    blocks = -(-count // _BLOCK)
    size = path.stat().st_size if path.exists() else 0
    valid = _valid_blocks(path, digests, count, row) if size else 0
    if len(digests) != blocks or size != count * row or valid != blocks:
        raise ValueError(
            f"Kept logits must be as they were written: {blocks} blocks, {count * row} bytes. Received: "
            f"{path}, {size} bytes, {len(digests)} blocks listed, the first {valid} intact. "
            f"Delete {directory}; the logits are built again."
        )
    return path


def _checked(logits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if logits.shape != shape:
        raise ValueError(
            f"The teacher must return logits {list(shape)}. Received: {list(logits.shape)}. "
            "Train it on the student's classes."
        )
    if not (np.abs(logits) <= _LARGEST).all():
        raise ValueError(
            f"Logits that are kept as float16 must be finite and at most {_LARGEST:.0f}. Received: "
            f"{np.abs(logits).max()}. The teacher may have diverged; train it again with a lower "
            "learning rate, or ask it live."
        )
    return logits.astype("<f2")


def _valid_blocks(path: pathlib.Path, digests: list[str], count: int, row: int) -> int:
    """Returns how many of the first blocks have the digests that are listed."""
    with path.open("rb") as file:
        for number, expected in enumerate(digests):
            examples = min(_BLOCK, count - number * _BLOCK)
            block = file.read(examples * row)
            if len(block) != examples * row or digest(block) != expected:
                return number
    return len(digests)


def _listed(directory: pathlib.Path) -> list[str]:
    """The digests of the blocks; none if the list is damaged: no block counts as written then."""
    try:
        listed = json.loads((directory / _BLOCKS_FILE).read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    return listed if isinstance(listed, list) else []
