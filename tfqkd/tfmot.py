"""The tfmot front by its public name; importing it tells Keras all classes that a saved model may name."""

from typing import Any

from tfqkd.fronts import tfmot as _front
from tfqkd.fronts.tfmot import configs, layers, wrapper  # noqa: F401 (each registers its classes)

__all__ = list(dir(_front))


def __getattr__(name: str) -> Any:
    return getattr(_front, name)


def __dir__() -> list[str]:
    return __all__
