"""Measures how long exported files take for a batch: `python -m tfqkd.runtime.latency ARGUMENTS`.

ARGUMENTS is a JSON object, those of `latencies`; the result is printed as JSON.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from tfqkd.runtime.loading import load
from tfqkd.runtime.model import LoadedModel


def latencies(
    files: Sequence[tuple[str, bool]],
    threads: int,
    rounds: Sequence[tuple[int, int]],
    load: Callable[..., LoadedModel] = load,
) -> list[list[dict[str, float]]]:
    """Measures files in turns, so that what else the machine does falls on all of them alike.

    The order is another one in each round: a runtime's threads may still spin when the next begins.

    Args:
        files: Paths of exported files, each with whether it is given to the runtime as it is; see
            `tfqkd.runtime.load`.
        threads: How many threads a runtime uses.
        rounds: Pairs of a number of images and how often a batch of so many is run; one more run comes
            first and does not count.
        load: What loads a file.

    Returns:
        For each file a list: for each number of images, the median and the spread (the difference
        of the quartiles) in seconds.
    """
    models = [load(path, threads, direct=direct) for path, direct in files]
    results: list[list[dict[str, float]]] = [[] for _ in files]
    generator = np.random.default_rng(0)
    for batch, count in rounds:
        images = generator.integers(0, 256, (batch, *models[0].input_shape), np.uint8)
        times: list[list[float]] = [[] for _ in files]
        for number in range(count + 1):
            for index in generator.permutation(len(files)):
                start = time.perf_counter()
                models[index](images)
                if number:
                    times[index].append(time.perf_counter() - start)
        for result, taken in zip(results, times, strict=True):
            low, median, high = statistics.quantiles(taken, n=4)
            result.append(
                {"threads": threads, "batch": batch, "median": median, "spread": high - low}
            )
    return results


if __name__ == "__main__":
    print(json.dumps(latencies(**json.loads(sys.argv[1]))))
