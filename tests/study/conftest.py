import warnings

import optuna
import pytest


@pytest.fixture(autouse=True)
def heartbeats_may_be_experimental():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield
