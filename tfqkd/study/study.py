"""`run_study(plan, place)`: a study, or one worker's part in it."""

from tfqkd.study.line import WorkerLine
from tfqkd.study.place import Place
from tfqkd.study.plan import Plan
from tfqkd.study.results import StudyResults
from tfqkd.study.trial import TrialRunner
from tfqkd.study.worker import work


def run_study(plan: Plan, place: Place) -> StudyResults:
    """Runs trials until all of the study are done, by this process or others that do the same.

    Args:
        plan: What the study is.
        place: Where it is kept.

    Returns:
        What was found.

    Raises:
        ValueError: If the storage cannot be reached, a model does not fit the data, or the study of this name
            has another plan; before any trial.
    """
    line = WorkerLine()
    runner = TrialRunner(plan, place.directory, line)
    # Before the study is begun, so that a mistake takes no name in the storage.
    place.open()
    runner.check()
    study = place.join(plan)
    try:
        work(study, runner, line)
    finally:
        line.close()
    return StudyResults.read(study, plan)
