import warnings

import numpy as np
import pytest
from matplotlib import image as png
from matplotlib import pyplot as plt

from tfqkd.reporting import figures
from tfqkd.reporting.figures import plot_confusion

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
    monkeypatch.setattr(figures.plt, "close", kept.append)
    yield kept
    monkeypatch.undo()
    plt.close("all")


def assert_png(path, width, height):
    """A whole PNG of this size in inches, and nothing else beside it."""
    assert png.imread(path).shape == (height * DOTS_PER_INCH, width * DOTS_PER_INCH, 4)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


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
    path = tmp_path / "confusion.png"
    plot_confusion({"a": np.eye(2, dtype=int)}, "ab", path)
    before = path.read_bytes()

    def savefig(self, partial, **_):
        partial.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    with pytest.raises(OSError, match="No space"):
        plot_confusion({"a": np.eye(3, dtype=int)}, "abc", path)
    assert path.read_bytes() == before
    plt.close("all")
