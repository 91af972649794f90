"""Norms of the gradients of several losses, on JAX."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tfqkd.fronts.keras3.balance import squares_of


def squares(losses: Callable[[Sequence[Any]], Any], values: Sequence[Any], known: Any) -> Any:
    """Returns the squared norms of the gradients of the first loss and of each other, `[others, 2]`.

    Args:
        losses: From values of weights to losses `[1 + others]`.
        values: Of the weights.
        known: Of each other: 0 or more if its norms are no longer asked for. Where all are so, nothing is
            computed, and zeros are returned.
    """

    def measured() -> Any:
        found, pull = jax.vjp(losses, list(values))
        hard, *others = (pull(unit)[0] for unit in jnp.eye(len(found)))
        return jnp.stack([squares_of(hard, other) for other in others])

    return jax.lax.cond(jnp.any(known < 0), measured, lambda: jnp.zeros((len(known), 2)))
