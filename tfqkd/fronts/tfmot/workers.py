"""The workers of a strategy of TensorFlow."""

from collections.abc import Sequence

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
