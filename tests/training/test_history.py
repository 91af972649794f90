import csv

import pytest

from tfqkd.training.history import History, read_history


def finish_epochs(path, epochs, first=0, rate=0.1, stop_before_end=False):
    """Calls the callback as `fit` does; epoch `e` logs loss 1/(e+3)."""
    history = History(path, first)
    for epoch in epochs:
        history.on_epoch_begin(epoch)
        if stop_before_end and epoch == epochs[-1]:
            return
        logs = {"loss": 1 / (epoch + 3), "accuracy": 0.5, "learning_rate": rate}
        history.on_epoch_end(epoch, logs)


def raw(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_epoch_has_a_row(tmp_path):
    path = tmp_path / "history.csv"
    finish_epochs(path, range(3))
    rows = read_history(path)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["loss"] for row in rows] == [1 / 3, 1 / 4, 1 / 5]
    assert [row["accuracy"] for row in rows] == [0.5] * 3
    assert [row["learning_rate"] for row in rows] == [0.1] * 3
    assert all(0 <= row["seconds"] < 1 for row in rows)
    assert list(rows[0]) == ["epoch", "seconds", "learning_rate", "loss", "accuracy"]


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_rows_of_epochs_that_run_again_are_replaced(tmp_path, first):
    path = tmp_path / "history.csv"
    finish_epochs(path, range(3), rate=0.1)
    before = raw(path)
    finish_epochs(path, range(first, 4), first, rate=0.7)
    after = raw(path)
    # The rows that stay are left as they are, to the letter.
    assert after[:first] == before[:first]
    assert [row["epoch"] for row in after] == ["1", "2", "3", "4"]
    assert [row["learning_rate"] for row in after] == ["0.1"] * first + ["0.7"] * (4 - first)


def test_an_epoch_that_was_interrupted_has_no_row(tmp_path):
    path = tmp_path / "history.csv"
    finish_epochs(path, range(2), stop_before_end=True)
    assert [row["epoch"] for row in read_history(path)] == [1]


def test_a_history_that_is_missing_or_empty_has_no_rows(tmp_path):
    assert read_history(tmp_path / "none.csv") == []
    History(tmp_path / "history.csv").on_train_begin()
    assert (tmp_path / "history.csv").exists()
    assert read_history(tmp_path / "history.csv") == []


def test_what_another_start_left_is_gone_before_the_first_epoch_ends(tmp_path):
    path = tmp_path / "history.csv"
    finish_epochs(path, range(3))
    History(path, 1).on_train_begin()
    assert [row["epoch"] for row in read_history(path)] == [1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: None, "0 rows after 3 epochs"),
        (lambda lines: lines[:3], "2 rows after 3 epochs"),
        (lambda lines: [lines[0], *lines[2:]], r"the epochs \[2.0, 3.0\]"),
        (lambda lines: [*lines[:2], *lines[1:]], r"the epochs \[1.0, 1.0, 2.0, 3.0\]"),
        (lambda lines: [*lines[:3], lines[3][:-8]], "float"),
        (lambda lines: [*lines[:3], f"{lines[3]},0.5"], "float"),
        (lambda lines: [*lines[:3], "\0"], "float|NUL"),
    ],
    ids=["lost", "short", "without the first", "doubled", "half a row", "too long", "no text"],
)
def test_no_training_goes_on_without_the_rows_of_its_epochs(tmp_path, damage, said):
    path = tmp_path / "history.csv"
    finish_epochs(path, range(3))
    lines = damage(path.read_text().splitlines())
    path.unlink()
    if lines is not None:
        path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=rf"A history must.*{said}.*Restore it, or remove"):
        History(path, 3)
    # A stage that begins anew needs none of them.
    History(path, 0)
