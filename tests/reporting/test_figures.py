import warnings

import numpy as np
import pytest
from matplotlib import image as png
from matplotlib import pyplot as plt

from tfqkd.reporting import figures
from tfqkd.reporting.figures import plot_comparison, plot_confusion, plot_run

DOTS_PER_INCH = 120


@pytest.fixture(autouse=True)
def no_warnings_and_nothing_left_open():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert plt.get_fignums() == []


@pytest.fixture
def drawn(monkeypatch):
    """Keeps the last figure open for a look at what is in it."""
    kept = []
    save = figures._save

    def keep(figure, path):
        kept.append(figure)
        save(figure, path)

    monkeypatch.setattr(figures, "_save", keep)
    return kept


def assert_png(path, width, height):
    """A whole PNG of this size in inches, and nothing else beside it."""
    assert png.imread(path).shape == (height * DOTS_PER_INCH, width * DOTS_PER_INCH, 4)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def history(epochs, **columns):
    return [
        {"epoch": float(epoch), "loss": 1 / epoch, "accuracy": 1 - 1 / (epoch + 1), **columns}
        for epoch in range(1, epochs + 1)
    ]


MODELS = [{"role": "teacher", "accuracy": 0.95}, {"role": "student", "accuracy": 0.9}]


def test_a_run_is_drawn_with_the_values_of_its_histories(tmp_path, drawn):
    histories = {
        "teacher": history(4),
        "student": history(3, val_accuracy=0.25),
        "ternary": history(2, coefficient=0.5),
        "by path": [],
    }
    plot_run(histories, MODELS, tmp_path / "run.png")
    assert_png(tmp_path / "run.png", 15, 4.5)
    losses, accuracies, tests, coefficient = drawn[0].axes
    assert [line.get_label() for line in losses.lines] == ["teacher", "student", "ternary"]
    for line, epochs in zip(losses.lines, (4, 3, 2), strict=True):
        expected = range(1, epochs + 1)
        np.testing.assert_array_equal(line.get_xdata(), expected)
        np.testing.assert_allclose(line.get_ydata(), [1 / epoch for epoch in expected])
    assert len(accuracies.lines) == 4
    np.testing.assert_allclose(accuracies.lines[0].get_ydata(), [50, 100 * 2 / 3, 75, 80])
    np.testing.assert_allclose(accuracies.lines[2].get_ydata(), [25] * 3)
    np.testing.assert_allclose(coefficient.lines[0].get_ydata(), [0.5] * 2)
    assert [bar.get_width() for bar in tests.patches] == [95, 90]
    assert [label.get_text() for label in tests.get_yticklabels()] == ["teacher", "student"]


def test_the_names_of_a_run_stay_clear_of_the_panel_before(tmp_path, drawn):
    models = [{"role": "ternary student, gradual coefficient", "accuracy": 0.9}]
    plot_run({"teacher": history(3)}, models, tmp_path / "run.png")
    # As it was saved: its texts are measured so.
    drawn[0].set_dpi(DOTS_PER_INCH)
    _, accuracies, tests = drawn[0].axes
    assert accuracies.get_title() == "Training accuracy"
    for name in tests.get_yticklabels():
        assert name.get_window_extent().x0 > accuracies.get_window_extent().x1
    for text in tests.texts:
        assert text.get_window_extent().x1 < tests.get_window_extent().x1


def test_a_run_without_training_is_drawn(tmp_path):
    plot_run({"student": []}, MODELS, tmp_path / "run.png")
    assert_png(tmp_path / "run.png", 15, 4.5)


def test_a_comparison_shows_means_and_every_seed(tmp_path, drawn):
    rows = {"teacher": (0.9,), "student": (0.5, 0.7), "ternary": (0.25, 0.5, 0.75)}
    plot_comparison(rows, tmp_path / "comparison.png")
    assert_png(tmp_path / "comparison.png", 8, 0.6 * 3 + 1.6)
    (axes,) = drawn[0].axes
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [90, 60, 50])
    assert [text.get_text() for text in axes.texts] == ["90.00", "60.00", "50.00"]
    points = [line.get_xdata() for line in axes.lines]
    np.testing.assert_allclose(np.concatenate(points), [50, 70, 25, 50, 75])
    low, high = axes.get_xlim()
    assert 0 <= low < 25
    assert high > 90


def test_more_rows_than_colours_are_all_drawn(tmp_path, drawn):
    rows = {f"row {number}": (number / 10,) for number in range(8)}
    plot_comparison(rows, tmp_path / "comparison.png")
    assert len(drawn[0].axes[0].patches) == 8


@pytest.mark.parametrize(("models", "width", "height"), [(1, 5, 4.6), (3, 15, 4.6), (4, 15, 9.2)])
def test_a_confusion_matrix_is_drawn_for_each_model(tmp_path, drawn, models, width, height):
    counts = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    matrices = {f"model {number}": counts for number in range(models)}
    plot_confusion(matrices, ["cat", "dog", "fish"], tmp_path / "confusion.png")
    assert_png(tmp_path / "confusion.png", width, height)
    shown = [axes for axes in drawn[0].axes if axes.images]
    assert [axes.get_title() for axes in shown] == list(matrices)
    # Per cent of the row; a class without images has an empty one.
    expected = [[75, 25, 0], [0, 100, 0], [0, 0, 0]]
    np.testing.assert_allclose(shown[0].images[0].get_array(), expected)
    assert [label.get_text() for label in shown[0].get_xticklabels()] == ["cat", "dog", "fish"]
    # x is what it said, y the label.
    numbers = {text.get_position(): text.get_text() for text in shown[0].texts}
    assert numbers == {(0, 0): "75", (1, 0): "25", (1, 1): "100"}


def test_the_numbers_of_twenty_classes_stay_in_their_cells(tmp_path, drawn):
    matrix = np.full((20, 20), 1) + 9999 * np.eye(20, dtype=int)
    plot_confusion({"model": matrix}, [f"class {n}" for n in range(20)], tmp_path / "c.png")
    axes = drawn[0].axes[0]
    cell = axes.get_window_extent().width / 20
    assert [text.get_text() for text in axes.texts[:2]] == ["100", "<1"]
    assert max(text.get_window_extent().width for text in axes.texts) < cell


def test_many_classes_are_not_written_out(tmp_path, drawn):
    names = [str(number) for number in range(21)]
    plot_confusion({"model": np.eye(21, dtype=int)}, names, tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    assert len(axes.get_xticklabels()) < 21
    assert not axes.texts


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "comparison.png"
    plot_comparison({"a": (0.5,)}, path)
    before = path.read_bytes()

    def savefig(self, partial, **_):
        partial.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    with pytest.raises(OSError, match="No space"):
        plot_comparison({"a": (0.75,)}, path)
    assert path.read_bytes() == before
    plt.close("all")
