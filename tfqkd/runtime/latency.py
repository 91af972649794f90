"""Measures how long exported files take for a batch, in turns: `python -m tfqkd.runtime.latency`."""

import json
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np

from tfqkd.runtime.loading import load

THREADS, BATCHES = (1, 2), (1, 32)


def latencies(
    files: Sequence[tuple[str, bool]],
    rounds: int = 15,
    threads: Sequence[int] = THREADS,
    batches: Sequence[int] = BATCHES,
) -> list[list[dict[str, float]]]:
    """Measures files in turns, so that what else the machine does falls on all of them alike.

    Args:
        files: Paths of exported files, each with whether it is given to the runtime as it is; see
            `tfqkd.runtime.load`.
        rounds: How often each is run; one more run comes first and does not count.
        threads: Numbers of threads.
        batches: Numbers of images.

    Returns:
        For each file a list: for each number of threads and images, the median and the spread (the
        difference of the quartiles) in seconds.
    """
    results: list[list[dict[str, float]]] = [[] for _ in files]
    for count in threads:
        models = [load(path, count, direct=direct) for path, direct in files]
        for batch in batches:
            images = np.random.default_rng(0).integers(
                0, 256, (batch, *models[0].input_shape), np.uint8
            )
            times: list[list[float]] = [[] for _ in files]
            for number in range(rounds + 1):
                for model, taken in zip(models, times, strict=True):
                    start = time.perf_counter()
                    model(images)
                    if number:
                        taken.append(time.perf_counter() - start)
            for result, taken in zip(results, times, strict=True):
                low, median, high = statistics.quantiles(taken, n=4)
                result.append(
                    {"threads": count, "batch": batch, "median": median, "spread": high - low}
                )
    return results


def main(arguments: Sequence[str]) -> None:
    """Prints the latencies of the files that are named, as JSON.

    Args:
        arguments: Paths; `--direct` stands before one that is given to the runtime as it is.
            `--single` first measures one thread and one image only.
    """
    single = list(arguments[:1]) == ["--single"]
    words = arguments[single:]
    files = [
        (word, index > 0 and words[index - 1] == "--direct")
        for index, word in enumerate(words)
        if word != "--direct"
    ]
    counts = (THREADS[:1], BATCHES[:1]) if single else (THREADS, BATCHES)
    print(json.dumps(latencies(files, threads=counts[0], batches=counts[1])))


if __name__ == "__main__":
    main(sys.argv[1:])
