"""Where a study is kept: a directory, and a database that its workers share."""

import dataclasses
import pathlib

from optuna import Study
from optuna.storages import RDBStorage

from tfqkd.study.database import find, join, open_storage, sqlite_url
from tfqkd.study.plan import Plan
from tfqkd.study.samplers import make_pruner, make_sampler

DATABASE_FILE = "study.db"
GRACE_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class StudyLocation:
    """Where a study is kept.

    Attributes:
        directory: Gets the trials' run directories and the products that they share.
        name: Of the study in its storage; that of the directory if empty.
        storage: URL of the database; a file in the directory if empty.
        grace_seconds: A worker that gives no sign of life for this long has died; its trial goes to another.
    """

    directory: pathlib.Path
    name: str = ""
    storage: str = ""
    grace_seconds: int = GRACE_SECONDS

    def open(self) -> RDBStorage:
        """Opens the storage; makes the directory if the storage is a file in it.

        Raises:
            ValueError: If it cannot be reached.
        """
        if not self.storage:
            self.directory.mkdir(parents=True, exist_ok=True)
        return open_storage(self.url, self.grace_seconds)

    def join(self, plan: Plan) -> Study:
        """Starts the study, or joins it.

        Raises:
            ValueError: If the storage cannot be reached, or the study has another plan.
        """
        return join(self.open(), self._name, plan, make_sampler(plan), make_pruner(plan))

    def find(self, plan: Plan) -> Study:
        """Returns the study to look at it; starts and makes nothing.

        Raises:
            StudyNotFoundError: If it was not started.
            ValueError: If the storage cannot be reached, or the study has another plan.
        """
        return find(self.url, self._name, plan, self.grace_seconds)

    @property
    def url(self) -> str:
        """Of the database."""
        return self.storage or sqlite_url(self.directory / DATABASE_FILE)

    @property
    def _name(self) -> str:
        return self.name or self.directory.resolve().name
