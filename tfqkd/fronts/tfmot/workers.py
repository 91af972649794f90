"""Where a run computes, and the workers of a strategy."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from tfqkd.compat import tf
from tfqkd.fronts.cluster import Cluster
from tfqkd.fronts.workers import Workers


class StrategyWorkers(Workers):
    """The workers of a strategy; a single one unless it is multi-worker.

    Args:
        strategy: Where the run computes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self._shares = strategy.num_replicas_in_sync
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            cluster = Cluster.read()
            self.count = sum(map(len, cluster.addresses.values()))
            self.is_chief = cluster.is_chief

    def _sum(self, values: Sequence[int]) -> list[int]:
        """Sums over all replicas."""
        spread = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(values, tf.int64)
        )
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, spread, axis=None).numpy().tolist()


class StrategyPlace:
    """A strategy as a `tfqkd.fronts.front.Place`.

    Args:
        strategy: Where the run computes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.workers: Workers = StrategyWorkers(strategy)
        self.replicas: int = strategy.num_replicas_in_sync

    def scope(self) -> AbstractContextManager[Any]:
        """Variables that are made inside belong to all devices."""
        return self._strategy.scope()
