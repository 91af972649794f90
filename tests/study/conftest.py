import sqlite3
import warnings

import optuna
import pytest
import sqlalchemy


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def wait_for_no_disk(connection, record):
    """Lets SQLite commit in no time: no study of a test has to outlast a loss of power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(autouse=True)
def heartbeats_may_be_experimental():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield
