"""Fixed roundings in a model that is to train: nothing before them would."""

from collections.abc import Sequence


def require_others(roundings: Sequence[str], activation_bits: int | None) -> None:
    """Raises ValueError if the fixed roundings of a stripped model would stay in one that trains.

    Args:
        roundings: Names of the layers that round activations by fixed steps; their gradient is zero.
        activation_bits: Of what is quantized in their place; None for float.
    """
    if roundings and activation_bits is None:
        raise ValueError(
            "A model that trains must not round activations by fixed steps: nothing before them would "
            f"learn. Received: layer '{roundings[0]}' of a stripped model, and activations that stay float. "
            "Quantize activations too (DeployScheme() or Scheme(..., LsqActivationQuantizer(8)); in a "
            "recipe --quantize.deploy or --quantize.activation_bits), which trains steps in their place."
        )
