"""`run_study(plan, location)`: a study, or one worker's part in it."""

from tfqkd.study.database import required
from tfqkd.study.location import StudyLocation
from tfqkd.study.plan import Plan
from tfqkd.study.results import StudyResults
from tfqkd.study.status import StudyStatus
from tfqkd.study.trial import TrialRunner
from tfqkd.study.worker import work
from tfqkd.training.directory import append_command


def run_study(
    plan: Plan, location: StudyLocation, command: list[str] | None = None
) -> StudyResults:
    """Runs trials until all of the study are done, by this process or others that do the same.

    Args:
        plan: What the study is.
        location: Where it is kept.
        command: The command line that asked for it, kept in the directory once the study is joined.

    Returns:
        What was found.

    Raises:
        ValueError: If the storage cannot be reached, a model does not fit the data, or the study of this name
            has another plan; before any trial.
        RuntimeError: If the storage is lost on the way.
    """
    status = StudyStatus()
    runner = TrialRunner(plan, location.directory, status)
    # Before the study is begun, so that a mistake takes no name in the storage.
    location.open()
    runner.check()
    with required(location.url):
        study = location.join(plan)
        if command:
            location.directory.mkdir(parents=True, exist_ok=True)
            append_command(location.directory, command)
        try:
            work(study, runner, status, location.grace_seconds)
        finally:
            status.close()
        return StudyResults.read(study, plan)
