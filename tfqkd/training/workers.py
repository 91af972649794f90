"""The processes that train together: who writes, and what all of them agree on."""

import json
import os
from typing import Any

from tfqkd.compat import tf


class Workers:
    """The workers of a strategy; a single one unless it is multi-worker.

    Args:
        strategy: Where the run computes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        resolver = getattr(strategy, "cluster_resolver", None)
        spec = resolver.cluster_spec().as_dict() if resolver else {}
        self.count = max(sum(len(addresses) for addresses in spec.values()), 1)
        chief = ("chief", 0) if "chief" in spec else ("worker", 0)
        self.is_chief = self.count == 1 or (resolver.task_type, resolver.task_id) == chief

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether any worker raised it; all of them must call this."""
        if self.count == 1:
            return flags
        return tuple(bool(total) for total in self._sum([int(flag) for flag in flags]))

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


def check_cluster(text: str | None = None) -> None:
    """Checks TF_CONFIG, of which TensorFlow takes much and then waits for ever.

    Args:
        text: Its value; that of the environment if None.

    Raises:
        ValueError: If it does not name a cluster of workers and this process as one of them.
    """
    text = os.environ.get("TF_CONFIG", "") if text is None else text
    try:
        config = json.loads(text)
        cluster, task = dict(config["cluster"]), dict(config["task"])
        addresses = cluster[task["type"]]
        valid = (
            set(cluster) <= {"chief", "worker"}
            and len(cluster.get("chief", [])) <= 1
            and all(_is_address(each) for group in cluster.values() for each in group)
            and isinstance(task["index"], int)
            and 0 <= task["index"] < len(addresses)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        valid = False
    if not valid:
        raise ValueError(
            "TF_CONFIG must name the addresses of all workers and which of them this process is. "
            f"Received: TF_CONFIG={text!r}. For the first of two: "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
        )


def _is_address(address: object) -> bool:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16
