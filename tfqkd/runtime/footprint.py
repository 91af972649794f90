"""Measures what a file costs to load: `python -m tfqkd.runtime.footprint ARGUMENTS`.

ARGUMENTS is a JSON object, those of `footprint`; the result is printed as JSON. A process of its
own: what another file has taken must not count.
"""

import json
import pathlib
import re
import sys
import time
from collections.abc import Callable

import numpy as np

from tfqkd.runtime.loading import load, runtime_of
from tfqkd.runtime.model import LoadedModel

_STATUS = pathlib.Path("/proc/self/status")


def footprint(
    path: str, direct: bool = False, load: Callable[..., LoadedModel] = load
) -> dict[str, float | None]:
    """Returns how long a file takes to load, and the memory that it takes.

    Args:
        path: A file that tfqkd exported; its runtime is imported.
        direct: See `tfqkd.runtime.load`.
        load: What loads a file.

    Returns:
        `load_seconds`, from the file to a function that is ready; `peak_bytes`, by how much that and
        a batch of one image raise the process's peak memory, the runtime's own libraries apart; None
        where the system is not Linux, which alone tells it.
    """
    before = _peak()
    start = time.perf_counter()
    model = load(path, direct=direct)
    seconds = time.perf_counter() - start
    model(np.zeros((1, *model.input_shape), np.float32))
    after = _peak()
    raised = None if before is None or after is None else float(after - before)
    return {"load_seconds": seconds, "peak_bytes": raised}


def _peak() -> int | None:
    """Returns the process's peak memory in bytes, on Linux.

    That of getrusage would not do: a child starts with its parent's, and a parent that has loaded
    TensorFlow is far above what a file takes.
    """
    if not _STATUS.exists():
        return None
    (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text("ascii"), re.MULTILINE)
    return 1024 * int(kib)


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    runtime_of(arguments["path"])
    print(json.dumps(footprint(**arguments)))
