import pytest
from training.finished import FinishedRun, finished_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> FinishedRun:
    return finished_run(tmp_path_factory)
