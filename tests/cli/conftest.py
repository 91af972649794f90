import pytest
from training.finished import FinishedRun, finished_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> FinishedRun:
    return finished_run(tmp_path_factory)


@pytest.fixture
def no_tensorflow(monkeypatch):
    """Lets a test fail if a command gets as far as loading TensorFlow."""

    def load(version=2):
        raise AssertionError("The command went on to load TensorFlow.")

    for command in ("evaluate", "export"):
        monkeypatch.setattr(f"tfqkd.cli.{command}.load_tensorflow", load)
    for command in ("train", "study"):
        monkeypatch.setattr(f"tfqkd.cli.{command}.load_keras", load)
