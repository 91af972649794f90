"""When the host looks at what a training does."""

import time

from tfqkd.fronts.workers import Workers

_SECONDS_BETWEEN = 1.0


class Looks:
    """Chooses the steps after which the host looks, about one a second, the same ones for all workers.

    A look waits for the device and, of several workers, for the others; a step between two looks waits for
    nothing.

    Args:
        workers: Those that train together.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._calls, self._next, self._begin = 0, 1, time.monotonic()

    def due(self, asked: bool) -> bool:
        """Counts a call of the training step, and says whether to look after it.

        Args:
            asked: Whether this process was asked to stop: then one that trains by itself looks at once.
        """
        self._calls += 1
        return self._calls >= self._next or (asked and self._workers.count == 1)

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether any worker raised it, and chooses the next look.

        All workers must call this after the same step.
        """
        seconds = max(time.monotonic() - self._begin, 1e-3)
        wanted = max(1, round(self._calls * _SECONDS_BETWEEN / seconds))
        *raised, self._next = self._workers.agree(flags, wanted)
        self._calls, self._begin = 0, time.monotonic()
        return tuple(raised)
