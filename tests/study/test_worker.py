import types

import optuna
import pytest
from optuna.trial import TrialState

from tfqkd.study.database import give_back, retry
from tfqkd.study.results import StudyResults
from tfqkd.study.worker import work

from .tried import accuracy, begin, objective, plan


class Line:
    """Keeps what a worker's line says at the end of trials."""

    def __init__(self):
        self.said = []

    def end(self, text):
        self.said.append(text)


SMALL = ("temperature=1,2,8",)


def test_a_worker_runs_the_whole_queue(tmp_path):
    small = plan(*SMALL)
    study, line = begin(tmp_path, small), Line()
    assert work(study, objective(small, accuracy), line, 60) == 4
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    assert line.said[0] == "control 0: 80.00 %"
    assert "trial" in line.said[1]
    assert "temperature=2: 85.00 %" in "\n".join(line.said)
    # Nothing is left: the same again ends at once.
    assert work(study, objective(small, accuracy), line, 60) == 0


def test_a_trial_that_fails_says_why_and_the_study_goes_on(tmp_path):
    small = plan(*SMALL)
    study, line = begin(tmp_path, small), Line()

    def formula(settings, control, seed):
        if settings.get("temperature") == 8.0:
            raise ValueError("The loss must stay finite.")
        return accuracy(settings, control, seed)

    assert work(study, objective(small, formula), line, 60) == 4
    (failed,) = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert failed.user_attrs["error"] == "The loss must stay finite."
    assert any(text.endswith("failed: The loss must stay finite.") for text in line.said)
    results = StudyResults.read(study, small)
    assert results.counts["fail"] == 1
    assert set(results.taught["temperature"]) == {1.0, 2.0}


def test_three_failures_in_a_row_end_the_worker(tmp_path):
    small = plan(*SMALL)
    study = begin(tmp_path, small)

    def fail(trial):
        raise ValueError("no memory for this model")

    with pytest.raises(ValueError, match="3 failures in a row, the last one: no memory"):
        work(study, fail, Line(), 60)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_a_worker_that_is_stopped_gives_its_trial_back_and_goes_on_later(tmp_path, error):
    small = plan(*SMALL)
    study, taken = begin(tmp_path, small), []

    def stop_in_the_second(trial):
        taken.append(trial.number)
        if len(taken) == 2:
            raise error
        return objective(small, accuracy)(trial)

    with pytest.raises(error if isinstance(error, type) else type(error)):
        work(study, stop_in_the_second, Line(), 60)
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.WAITING) == 3
    assert work(study, objective(small, accuracy), Line(), 60) == 3
    results = StudyResults.read(study, small)
    assert sorted(results.taught["temperature"]) == [1.0, 1.0, 2.0, 2.0, 8.0, 8.0]


def test_a_setting_that_breaks_its_workers_is_dropped_and_one_that_is_interrupted_is_not(tmp_path):
    small = plan(*SMALL)
    study = begin(tmp_path, small)

    def formula(settings, control, seed):
        if settings.get("temperature") == 8.0:
            raise MemoryError
        if settings.get("temperature") == 1.0 and interruptions:
            raise interruptions.pop()
        return accuracy(settings, control, seed)

    # As many as a worker that is stopped every few minutes sees.
    interruptions, breaks = [KeyboardInterrupt] * 5, 0
    for _ in range(20):
        try:
            work(study, objective(small, formula), Line(), 60)
        except KeyboardInterrupt:
            continue
        except MemoryError:
            breaks += 1
        else:
            break
    # Once, and three times again.
    assert breaks == 4
    assert interruptions == []
    assert set(StudyResults.read(study, small).taught["temperature"]) == {1.0, 2.0}


@pytest.mark.parametrize("ends", ["well", "by an interruption", "by a mistake"])
def test_a_trial_that_was_taken_over_is_not_queued_again(tmp_path, ends):
    small = plan(*SMALL)
    study, other, line = begin(tmp_path, small), begin(tmp_path, small), Line()

    def run(trial):
        if trial.number == 1:
            # As when this worker was suspended: another one took it for dead.
            other.tell(trial.number, state=TrialState.FAIL)
            retry(other, other.trials[trial.number])
            if ends == "by an interruption":
                raise KeyboardInterrupt
            if ends == "by a mistake":
                # Here the database says that the trial is no longer this worker's.
                return objective(small, accuracy)(trial)
            return 0.5
        return objective(small, accuracy)(trial)

    if ends == "by an interruption":
        with pytest.raises(KeyboardInterrupt):
            work(study, run, line, 60)
    else:
        work(study, run, line, 60)
        assert line.said[1].endswith(": taken over by another worker")
    work(study, run, line, 60)
    results = StudyResults.read(study, small)
    assert results.counts["fail"] == 1
    assert sorted(results.taught["temperature"]) == [1.0, 1.0, 2.0, 2.0, 8.0, 8.0]


def test_a_pruned_trial_is_said_to_be_given_up(tmp_path):
    small = plan(*SMALL)
    study, line = begin(tmp_path, small), Line()

    def prune(trial):
        raise optuna.TrialPruned

    work(study, prune, line, 60)
    assert all(text.endswith("given up") for text in line.said)


def test_a_worker_waits_for_the_trials_of_others_and_takes_what_comes_back(
    tmp_path, monkeypatch, capsys
):
    small = plan(*SMALL)
    other, study = begin(tmp_path, small), begin(tmp_path, small)
    held = [other.ask(), other.ask()]

    def sleep(seconds):
        """While the worker sleeps, the other one ends a trial and gives the next one back."""
        trial = held.pop(0)
        if held:
            other.tell(trial, 0.5)
        else:
            other.tell(trial, state=TrialState.FAIL)
            give_back(other, other.trials[trial.number])

    monkeypatch.setattr("tfqkd.study.worker.time", types.SimpleNamespace(sleep=sleep))
    assert work(study, objective(small, accuracy), Line(), 60) == 3
    assert held == []
    assert capsys.readouterr().out.count("waiting for those of other workers") == 1


def test_a_trial_that_optuna_makes_for_an_empty_queue_counts_for_nothing(tmp_path, monkeypatch):
    small = plan(*SMALL)
    study, other = begin(tmp_path, small), begin(tmp_path, small)
    work(study, objective(small, accuracy), Line(), 60)
    # As if another worker had taken the last trial between the look and the taking.
    waiting = [type("Trial", (), {"state": TrialState.WAITING})()]
    look, looks = study.get_trials, []

    def get_trials(**arguments):
        # The watch over the workers that died asks for those that run.
        looks.extend([] if "states" in arguments else [arguments])
        return waiting if looks == [arguments] else look(**arguments)

    monkeypatch.setattr(study, "get_trials", get_trials)
    assert work(study, objective(small, accuracy), Line(), 60) == 0
    (stray,) = other.trials[4:]
    assert stray.state == TrialState.PRUNED
    assert stray.user_attrs == {}
