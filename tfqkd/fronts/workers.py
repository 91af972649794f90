"""The processes that train together: who writes, and what all of them agree on."""

from collections.abc import Sequence
from typing import Any


class Workers:
    """The workers of a run; this class itself is a single one. A front of several overrides `_sum`.

    Attributes:
        count: How many there are.
        is_chief: Whether this one writes what all make together.
    """

    count = 1
    is_chief = True
    _shares = 1
    """How often `_sum` counts what each worker brings, over all workers."""

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether any worker raised it; all of them must call this."""
        *raised, _ = self.agree(flags, 0)
        return tuple(raised)

    def agree(self, flags: tuple[bool, ...], number: int) -> tuple[Any, ...]:
        """Returns what `any` does for the flags, then the mean of all workers' numbers, rounded down."""
        if self.count == 1:
            return *flags, number
        *totals, numbers = self._sum([*map(int, flags), number])
        return *map(bool, totals), numbers // self._shares

    def chief_says(self, flag: bool) -> bool:
        """Returns the chief's flag to all workers; all of them must call this."""
        (said,) = self.any(flag and self.is_chief)
        return said

    def wait(self) -> None:
        """Waits until every worker has come here."""
        self.any(False)

    def require_same(self, what: str, *values: int) -> None:
        """Raises unless all workers have the same values; all of them must call this.

        Raises:
            RuntimeError: If they differ.
        """
        if self.count > 1 and self._sum(values) != [value * self._shares for value in values]:
            raise RuntimeError(
                f"All workers must see the same {what}. Received: {values} here, something else at "
                "another worker. Put the run directory on storage that all workers share."
            )

    def _sum(self, values: Sequence[int]) -> list[int]:
        """Sums what all workers bring, each `_shares / count` times."""
        raise NotImplementedError
