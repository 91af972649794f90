"""The packages that a study needs if it is more than a grid in one process."""

import importlib.util

_PACKAGES = ("optuna", "sqlalchemy", "statsmodels")


def missing_packages() -> list[str]:
    """Returns those that are not installed."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def require_packages() -> None:
    """Raises ImportError if one is not installed."""
    missing = missing_packages()
    if missing:
        raise ImportError(
            "A study that draws settings, prunes or has a storage needs the packages "
            f"{', '.join(_PACKAGES)}. Received: no {', '.join(missing)}. "
            "Install them with: pip install 'tfqkd[study]'"
        )
