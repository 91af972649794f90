"""Parameters of tests of which `make test` runs a part."""

from collections.abc import Iterable

import pytest


def some(names: Iterable[str], *quick: str) -> list:
    """Returns names as parameters, all but the quick ones slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]
