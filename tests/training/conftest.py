import pytest

from tfqkd import fronts

from . import numpy_front


@pytest.fixture
def on_numpy_front(monkeypatch):
    """Lets every run ask the NumPy front."""
    monkeypatch.setitem(fronts.FRONTS, "tfmot", numpy_front.__name__)


@pytest.fixture
def no_training(monkeypatch):
    """Lets a test fail if anything is trained."""

    def fit(*_, **__):
        raise AssertionError("Something was trained.")

    monkeypatch.setattr(numpy_front.Trainer, "fit", fit)
