"""The processes that train together: who writes, and what all of them agree on."""

from typing import Any

from tfqkd.compat import tf
from tfqkd.training.cluster import Cluster


class Workers:
    """The workers of a strategy; a single one unless it is multi-worker.

    Args:
        strategy: Where the run computes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        together = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        cluster = Cluster.read() if together else None
        self.count = sum(map(len, cluster.addresses.values())) if cluster else 1
        self.is_chief = cluster is None or cluster.is_chief

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether any worker raised it; all of them must call this."""
        *raised, _ = self.agree(flags, 0)
        return tuple(raised)

    def agree(self, flags: tuple[bool, ...], number: int) -> tuple[Any, ...]:
        """Returns what `any` does for the flags, then the mean of all workers' numbers, rounded down."""
        if self.count == 1:
            return *flags, number
        *totals, numbers = self._sum([*map(int, flags), number])
        return *map(bool, totals), numbers // self._strategy.num_replicas_in_sync

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
        replicas = self._strategy.num_replicas_in_sync
        if self.count > 1 and self._sum(values) != [value * replicas for value in values]:
            raise RuntimeError(
                f"All workers must see the same {what}. Received: {values} here, something else at "
                "another worker. Put the run directory on storage that all workers share."
            )

    def _sum(self, values: Any) -> list[int]:
        """Sums over all replicas."""
        spread = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(values, tf.int64)
        )
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, spread, axis=None).numpy().tolist()
