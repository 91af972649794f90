"""Norms of the gradients of several losses, on PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tfqkd.fronts.keras3.balance import squares_of


@torch.compiler.disable
def squares(losses: Callable[[Sequence[Any]], Any], values: Sequence[Any], known: Any) -> Any:
    """Returns what `norms_jax.squares` does; None where all are known, which waits for the device."""
    if bool((known >= 0).all()):
        return None
    values = [value.detach().requires_grad_() for value in values]
    hard, *others = losses(values).unbind()
    by_hard = _gradients(hard, values)
    return torch.stack([squares_of(by_hard, _gradients(other, values)) for other in others])


def _gradients(loss: Any, values: Sequence[Any]) -> Sequence[Any]:
    return torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True)
