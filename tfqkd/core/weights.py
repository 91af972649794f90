"""What multiplies a loss: a number, or one that is found once, by gradients, when training begins."""

Weight = float | str
"""0 or more; or `balanced:R`: the gradient of the weighted loss is R times that of the hard loss."""

_BALANCED = "balanced:"
NOT_SYNCHRONIZED = (
    "A weight cannot be balanced where several replicas share the statistics of batch norm: they cannot meet "
    "while its gradients are measured. Received: balanced weights of {losses} on {replicas} replicas with "
    "synchronized batch norm. Give the numbers that one device logs, or leave batch norm to each replica."
)


def ratio_of(weight: Weight) -> float | None:
    """Returns R of `balanced:R`; None of a number.

    Args:
        weight: As `require_weight` lets it pass.
    """
    return float(weight.removeprefix(_BALANCED)) if isinstance(weight, str) else None


def is_weight(weight: object) -> bool:
    """Whether it is a number, 0 or more and finite, or `balanced:R` with R above 0 and finite."""
    if isinstance(weight, str):
        try:
            return weight.startswith(_BALANCED) and 0 < float(ratio_of(weight) or 0) < float("inf")
        except ValueError:
            return False
    return isinstance(weight, (int, float)) and 0 <= weight < float("inf")


def require_weight(name: str, weight: object, said: str = "") -> None:
    """Raises ValueError if it is no weight.

    Args:
        name: What the error calls it.
        weight: What was received.
        said: How the error shows it; by default `name=weight`.
    """
    if not is_weight(weight):
        raise ValueError(
            f"{name} must be 0 or more, and finite, or balanced:R, R times the gradient of the hard loss. "
            f"Received: {said or f'{name}={weight}'}. For example balanced:1."
        )
