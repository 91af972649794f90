"""How the outputs of several teachers become one."""

import functools
import operator
from collections.abc import Sequence

from tfqkd.core.ops import Ops, Tensor, ops_of

LOGITS, PROBABILITIES, CONFIDENCE = "logits", "probabilities", "confidence"
COMBINATIONS = (LOGITS, PROBABILITIES, CONFIDENCE)


def combined(
    outputs: Sequence[Tensor], how: str = LOGITS, temperature: float = 1.0, ops: Ops | None = None
) -> Tensor:
    """Returns the logits of several teachers as those of one.

    - "logits": their mean, `(1/K)·Σ z_k`; of a regression that of the values.
    - "probabilities": what softens to the mean of their distributions, `T·log((1/K)·Σ softmax(z_k/T))`. The
      soft loss then has the gradient of the mean of the soft losses of all.
    - "confidence": the same with weights by example, `w_k = (1 - H_k/Σ H)/(K - 1)`, H the entropy of
      `softmax(z_k)`: who is surer counts for more, without a look at labels. Of one teacher, and of some that
      are all certain, the plain mean. (The entropy weights that the code of CA-MKD, arXiv 2201.00007,
      compares itself with.)

    Args:
        outputs: Of K teachers, float32 `[..., classes]`.
        how: One of `COMBINATIONS`.
        temperature: T of the distributions: that of the soft loss.
        ops: The table of their framework.

    Returns:
        Float32 `[..., classes]`.
    """
    ops = ops or ops_of(outputs[0])
    count = len(outputs)
    if how == LOGITS:
        return functools.reduce(operator.add, outputs) / count
    together = ops.stack([ops.cast(each, "float32") for each in outputs])
    weights = _confidences(together, ops) if how == CONFIDENCE and count > 1 else 1 / count
    softened = ops.log_softmax(together / temperature, -1) + ops.log(ops.cast(weights, "float32"))
    return temperature * ops.logsumexp(softened, 0)


def require_combination(how: object) -> None:
    """Raises ValueError if outputs cannot be combined so."""
    if how not in COMBINATIONS:
        raise ValueError(
            f"Teachers are combined by one of {', '.join(COMBINATIONS)}. Received: {how!r}."
        )


def _confidences(together: Tensor, ops: Ops) -> Tensor:
    """`w_k`, `[K, ..., 1]`; of certain teachers alone 1/K."""
    count = ops.shape(together)[0]
    logs = ops.log_softmax(together, -1)
    entropies = -ops.sum(ops.exp(logs) * logs, axis=-1, keepdims=True)
    total = ops.sum(entropies, axis=0, keepdims=True)
    shares = ops.where(total > 0, ops.divide_no_nan(entropies, total), 1 / count)
    return (1 - shares) / (count - 1)
