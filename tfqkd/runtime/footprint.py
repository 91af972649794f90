"""Measures what a file costs to load: `python -m tfqkd.runtime.footprint [--direct] MODEL`.

Prints a JSON object. A process of its own: what another file has taken must not count.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence

import numpy as np

from tfqkd.runtime.loading import load, runtime_of

_DIRECT = "--direct"
_KIB = 1024  # Linux counts the peak in KiB.


def footprint(path: str, *, direct: bool = False) -> dict[str, float]:
    """Returns how long a file takes to load, and the memory that it takes.

    Args:
        path: A file that tfqkd exported.
        direct: See `tfqkd.runtime.load`.

    Returns:
        `load_seconds`, from the file to a function that is ready; `peak_bytes`, by how much that and
        a batch of one image raise the process's peak memory, the runtime's own libraries apart.
    """
    runtime_of(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    model = load(path, direct=direct)
    seconds = time.perf_counter() - start
    model(np.zeros((1, *model.input_shape), np.float32))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"load_seconds": seconds, "peak_bytes": _KIB * float(peak - before)}


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and prints the footprint."""
    paths = [argument for argument in arguments if argument != _DIRECT]
    if len(paths) != 1:
        raise SystemExit("Usage: python -m tfqkd.runtime.footprint [--direct] MODEL")
    print(json.dumps(footprint(paths[0], direct=_DIRECT in arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
