"""The settings of a `Distiller`, looked at before anything is made of them; of either Keras."""

from tfqkd.core.tasks import require_task


def require_settings(temperature: float, coefficient: float, soft_weight: float, task: str) -> None:
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
    if not 0 <= soft_weight < float("inf"):
        raise ValueError(
            f"`soft_weight` must be 0 or more, and finite. Received: soft_weight={soft_weight}."
        )
    require_task(task)
