import pandas as pd
import pytest

from tfqkd.reporting.training_figures import Curve, draw_curves

TRAINED = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "accuracy": [0.25, 0.5]})
VALIDATED = TRAINED.assign(val_accuracy=[0.125, 0.375])


@pytest.mark.parametrize(
    ("rows", "title", "styles", "last"),
    [
        ([TRAINED], "Training accuracy", ["-"], [50]),
        ([VALIDATED], "Validation accuracy", ["-"], [37.5]),
        ([TRAINED, VALIDATED], "Validation accuracy (dotted: training)", [":", "-"], [50, 37.5]),
    ],
)
def test_dotted_lines_are_named_where_there_are_some(rows, title, styles, last):
    curves = [Curve(f"curve {number}", each) for number, each in enumerate(rows)]
    _, accuracies = draw_curves(curves, "").figure.axes
    assert accuracies.get_title() == title
    assert [line.get_linestyle() for line in accuracies.lines] == styles
    assert [line.get_ydata()[-1] for line in accuracies.lines] == last


def test_more_curves_than_colours_are_told_apart_and_not_hidden_by_their_names():
    drawing = draw_curves([Curve(f"curve {number}", TRAINED) for number in range(8)], "")
    losses, accuracies = drawing.figure.axes
    for axes in (losses, accuracies):
        looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
        assert len(set(looks)) == 8
    drawing.figure.draw_without_rendering()
    (legend,) = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"curve {n}" for n in range(8)]
    assert legend.get_window_extent().y1 < accuracies.get_window_extent().y0
