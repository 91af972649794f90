"""Where a study is kept: a SQLite file on one machine, PostgreSQL or MySQL across machines."""

import contextlib
import os
import pathlib
import time
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tfqkd.process.messages import first_line
from tfqkd.study.plan import Plan
from tfqkd.study.queue import fill

_PLAN, _READY = "plan", "ready"
# A trial that kills its workers, by its use of memory for instance, must not kill them forever.
_MOST_DEATHS = 3
_BEATS_OF_GRACE = 6  # Signs of life that a worker must miss to have died.
_SECONDS_TO_CONNECT = 10
_SECONDS_TO_BEGIN = 60.0
_CONNECT = {
    # A writer of a SQLite file waits for the others.
    "sqlite": {"timeout": 60},
    "postgresql": {"connect_timeout": _SECONDS_TO_CONNECT},
    "mysql": {"connect_timeout": _SECONDS_TO_CONNECT},
}


class StudyNotFoundError(ValueError):
    """A study that must be there was never begun."""


def give_back(study: optuna.Study, trial: FrozenTrial) -> None:
    """Puts a trial whose worker was asked to stop back into the queue, however often."""
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs,
        )
    )


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Puts a trial that its worker died or broke of back into the queue, three times at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback(max_retry=_MOST_DEATHS)(study, trial)


@contextlib.contextmanager
def required(url: str) -> Iterator[None]:
    """Turns the loss of a storage in the middle of a study into one message.

    Raises:
        RuntimeError: If the storage fails.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise RuntimeError(
            "The storage of a study must be reachable as long as a worker runs. Received: "
            f"{without_password(url)} ({first_line(error.__cause__ or error)}). Start it again, and run "
            "the same command: finished trials are kept."
        ) from error


def open_storage(url: str, grace_seconds: int) -> RDBStorage:
    """Opens a storage, and makes its tables if it is new.

    Args:
        url: As SQLAlchemy reads it, such as `sqlite:///study.db` or `postgresql://user@host/database`.
        grace_seconds: A worker that gives no sign of life for this long has died; its trial goes back.

    Raises:
        ValueError: If it cannot be reached.
    """
    # The worker has a line of its own.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        engine = sqlalchemy.create_engine(url)
        connect = {"connect_args": _CONNECT.get(engine.dialect.name, {})}
        engine.dispose()
        engine = sqlalchemy.create_engine(url, **connect)
        with engine.connect():
            pass
        engine.dispose()
    # PyMySQL has a RuntimeError for a way to log in that it does not know.
    except (ArgumentError, SQLAlchemyError, ImportError, RuntimeError) as error:
        advice = "Start it, or correct the URL."
        if isinstance(error, ImportError):
            advice = "Correct the URL, or install its driver: pip install 'tfqkd[study]' has both."
        raise ValueError(
            "`storage` must be the URL of a database that can be reached: sqlite:///FILE, "
            "postgresql://USER@HOST/DATABASE or mysql+pymysql://USER@HOST/DATABASE. "
            f"Received: {without_password(url)} ({first_line(error)}). {advice}"
        ) from error
    return _storage(url, connect, grace_seconds)


def join(storage: RDBStorage, name: str, plan: Plan, sampler: Any, pruner: Any) -> optuna.Study:
    """Begins a study, or joins the one of this name.

    Args:
        storage: From `open_storage`.
        name: Of the study.
        plan: What it is; whoever comes first writes it down and fills the queue.
        sampler: Draws the settings of trials that the queue leaves open.
        pruner: Gives up hopeless trials.

    Raises:
        ValueError: If the study there is of another plan; the error lists the differences.
        TimeoutError: If another worker began it and died before the queue was full.
    """
    parts = {"storage": storage, "sampler": sampler, "pruner": pruner, "study_name": name}
    try:
        study = optuna.create_study(direction="maximize", **parts)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(**parts)
        _wait_until_ready(study)
        _require_same(study, plan)
        return study
    try:
        study.set_user_attr(_PLAN, plan.to_json())
        fill(study, plan)
        study.set_user_attr(_READY, True)
    except BaseException:
        # A queue that is half full would keep the name forever.
        optuna.delete_study(study_name=name, storage=storage)
        raise
    return study


def find(url: str, name: str, plan: Plan, grace_seconds: int) -> optuna.Study:
    """Returns a study that was begun, to look at it; makes nothing where there is none.

    Args:
        url: As for `open_storage`.
        name: Of the study.
        plan: What it should be.
        grace_seconds: As for `open_storage`.

    Raises:
        StudyNotFoundError: If it was not begun.
        ValueError: If the storage cannot be reached, or the study there is of another plan.
    """
    names: list[str] = []
    if not _is_missing_file(url):
        storage = open_storage(url, grace_seconds)
        names = optuna.get_all_study_names(storage)
        if name in names:
            study = optuna.load_study(study_name=name, storage=storage)
            if study.user_attrs.get(_READY):
                _require_same(study, plan, finished=True)
                return study
    raise StudyNotFoundError(
        f"A study must be started before it can be reported. Received: {name!r}, which is not in "
        f"{without_password(url)} (studies there: {', '.join(names) or 'none'}). Start it with the same "
        "command without --report_only, or correct --run_dir, --study_name or --storage."
    )


def without_password(url: str) -> str:
    """Returns a URL as it may be shown."""
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(url)


def sqlite_url(path: str | os.PathLike[str]) -> str:
    """Returns the URL of a study in a file."""
    return f"sqlite:///{os.fspath(path)}"


def _is_missing_file(url: str) -> bool:
    try:
        parsed = sqlalchemy.make_url(url)
    except ArgumentError:
        return False
    # SQLite makes the file of whoever connects to it.
    is_file = parsed.get_backend_name() == "sqlite" and bool(parsed.database)
    return is_file and not pathlib.Path(str(parsed.database)).exists()


def _storage(url: str, engine: dict[str, Any], grace_seconds: int) -> RDBStorage:
    for attempt in range(5):
        try:
            with warnings.catch_warnings():
                # Heartbeats are in Optuna since 2.9 and still called experimental.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RDBStorage(
                    url,
                    engine_kwargs=engine,
                    heartbeat_interval=max(1, grace_seconds // _BEATS_OF_GRACE),
                    grace_period=grace_seconds,
                    heartbeat_stale_trial_callback=retry,
                )
        except SQLAlchemyError:
            # Two workers that start together may make the same tables: the second finds them made.
            if attempt == 4:
                raise
            time.sleep(0.5 * (attempt + 1))
    raise AssertionError("The loop returns or raises.")


def _wait_until_ready(study: optuna.Study) -> None:
    end = time.monotonic() + _SECONDS_TO_BEGIN
    while not study.user_attrs.get(_READY):
        if time.monotonic() > end:
            raise TimeoutError(
                f"The worker that creates a study must fill its queue. Received: {study.study_name}, whose "
                f"queue was empty after {_SECONDS_TO_BEGIN:.0f} seconds. Start again under another "
                "--study_name."
            )
        time.sleep(0.5)


def _require_same(study: optuna.Study, plan: Plan, finished: bool = False) -> None:
    differences = plan.differences(study.user_attrs[_PLAN], finished)
    if differences:
        listed = "\n".join(
            f"  {name}: {old!r} there, {new!r} given" for name, (old, new) in differences.items()
        )
        raise ValueError(
            f"A study belongs to one recipe and space. Received: another one for {study.study_name}:"
            f"\n{listed}\nGive another --study_name and --run_dir, or the study's own recipe and space."
        )
