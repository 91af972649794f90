import numpy as np
import pytest

from tfqkd.core.tasks import TASKS, require_task

from . import soft_reference as reference

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(scale=3, size=(2, 6, 5))
SOFTMAX, SIGMOID, REGRESSION = TASKS["softmax"], TASKS["sigmoid"], TASKS["regression"]


@pytest.mark.parametrize(
    ("answers", "task", "looked_at", "probable"),
    [
        ([[0.25, 0.75], [1.0, 0.0]], SOFTMAX, 1, 1),
        ([[0.25, 0.75], [1.0, 0.5]], SOFTMAX, 1, 0),
        (np.zeros((0, 2)), SOFTMAX, 0, 0),
        ([[0.25, 0.0], [1.0, 0.5]], SIGMOID, 3, 3),
        ([[0.25, -0.1], [1.5, 0.0]], SIGMOID, 3, 1),
    ],
)
def test_answers_that_look_like_probabilities_are_counted(answers, task, looked_at, probable):
    assert tuple(map(int, task.probabilities(np.asarray(answers)))) == (looked_at, probable)


def test_values_may_look_like_anything_and_do_not_agree():
    assert REGRESSION.probabilities is REGRESSION.agreement is None
    assert not REGRESSION.softens
    # Neither temperature nor kind nor scaling has a part in it.
    loss = REGRESSION.soft_loss(TEACHER, STUDENT, 7.0, "kl", True)
    np.testing.assert_allclose(loss, reference.squared_error(TEACHER, STUDENT), rtol=1e-5)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_outputs_without_a_last_axis_and_a_softmax_of_one_are_refused(task):
    task.require_outputs((None, 2))
    task.require_outputs((None, 8, 8, None))
    with pytest.raises(ValueError, match=r"must return \[batch, outputs\].*\(None,\)"):
        task.require_outputs((None,))
    if task is not SOFTMAX:
        task.require_outputs((None, 1))
        return
    with pytest.raises(ValueError, match="needs two classes or more"):
        task.require_outputs((None, 1))


def test_a_task_has_a_known_name():
    for name in ("auto", *TASKS):
        require_task(name)
    with pytest.raises(ValueError, match=r"`task` must be one of auto, softmax.*'binary'"):
        require_task("binary")
