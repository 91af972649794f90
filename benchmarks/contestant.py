"""The side of a contestant: a process that waits, runs some steps when it is told to, and waits again.

The standard library only, so that it runs in every environment.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable


def serve(prepare: Callable[[], Callable[[int], object]], warmup: int = 3) -> None:
    """Serves turns on standard input until it is closed.

    A turn is a line with a number of steps; the reply is a line of JSON with the seconds they took on the
    clock (`wall`), the processor seconds of the process (`cpu`) and its peak resident size (`peak_mib`).

    Args:
        prepare: Builds the contestant; returns a function that runs a number of steps to their end.
        warmup: Steps before the first turn.
    """
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    # Whatever a framework prints goes with its warnings, not between the replies.
    os.dup2(2, 1)
    try:
        run = prepare()
        run(warmup)
    except Exception as error:
        replies.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        raise
    replies.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        run(int(line))
        turn = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        replies.write(json.dumps({**turn, "peak_mib": peak}) + "\n")
