import pytest
from training.finished import FinishedRun, finished_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> FinishedRun:
    return finished_run(tmp_path_factory)


@pytest.fixture
def no_training(monkeypatch):
    """Lets a test fail if anything is trained."""
    from tfqkd.compat import keras

    def fit(*_, **__):
        raise AssertionError("Something was trained.")

    monkeypatch.setattr(keras.Model, "fit", fit)
