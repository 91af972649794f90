"""The settings of a `Distiller`, looked at before anything is made of them; of either Keras."""

from tfqkd.core.tasks import require_task
from tfqkd.core.weights import Weight, require_weight


def require_settings(
    temperature: float, coefficient: float, soft_weight: Weight, task: str
) -> None:
    """Raises if a setting of a `Distiller` is out of its range.

    Args:
        temperature: `T`.
        coefficient: λ.
        soft_weight: What multiplies the soft loss besides.
        task: What the outputs are.

    Raises:
        ValueError: If one is.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"`temperature` must be above 0 and finite. Received: temperature={temperature}. "
            "1 leaves the logits as they are; more softens them."
        )
    if not 0 <= coefficient <= 1:
        raise ValueError(
            f"`coefficient` must be in [0, 1]. Received: coefficient={coefficient}. "
            "It weighs the soft loss; the hard loss gets 1 - coefficient."
        )
    require_weight("`soft_weight`", soft_weight, f"soft_weight={soft_weight}")
    require_task(task)
