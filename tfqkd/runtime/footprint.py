"""Measures what a file costs to load: `python -m tfqkd.runtime.footprint ARGUMENTS`.

ARGUMENTS is a JSON object, those of `footprint`; the result is printed as JSON. A process of its
own: what another file has taken must not count.
"""

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from tfqkd.runtime.loading import load, runtime_of
from tfqkd.runtime.model import LoadedModel

_KIB = 1024  # Linux counts the peak in KiB.


def footprint(
    path: str, direct: bool = False, load: Callable[..., LoadedModel] = load
) -> dict[str, float]:
    """Returns how long a file takes to load, and the memory that it takes.

    Args:
        path: A file that tfqkd exported; its runtime is imported.
        direct: See `tfqkd.runtime.load`.
        load: What loads a file.

    Returns:
        `load_seconds`, from the file to a function that is ready; `peak_bytes`, by how much that and
        a batch of one image raise the process's peak memory, the runtime's own libraries apart.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    model = load(path, direct=direct)
    seconds = time.perf_counter() - start
    model(np.zeros((1, *model.input_shape), np.float32))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"load_seconds": seconds, "peak_bytes": _KIB * float(peak - before)}


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    runtime_of(arguments["path"])
    print(json.dumps(footprint(**arguments)))
