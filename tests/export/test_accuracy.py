"""How far a file's accuracy on the test images may fall, and what becomes of the other formats."""

import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.export import ExportError, export, load, writing
from tfqkd.export.accuracy import allowed_fall

pytestmark = pytest.mark.usefixtures("in_this_process")

IMAGES = np.random.default_rng(0).integers(0, 256, (150, 2, 2, 3), np.uint8)
CLASSES = 4


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    image = keras.Input((2, 2, 3))
    return keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(image)))


@pytest.fixture(scope="module")
def classes(model):
    return model(IMAGES.astype("float32")).numpy().argmax(axis=1)


def turning(monkeypatch, indices, names=("float16", "float32")):
    """Lets the files of some formats place another class first for some test images."""
    run_file = writing.run_file

    def turned(runner, draft, images):
        outputs = run_file(runner, draft, images)
        if any(name in draft.name for name in names):
            (logits,) = outputs.values()
            logits[indices] = np.roll(logits[indices], 1, axis=1)
        return outputs

    monkeypatch.setattr(writing, "run_file", turned)


@pytest.mark.parametrize(
    ("points", "changed", "count", "expected"),
    [(0.5, 0, 100, 0.5), (0.5, 1, 150, 0.5 + 2 / 1.5), (0.5, 100, 10_000, 0.7), (0, 4, 400, 1)],
)
def test_half_a_point_and_two_standard_deviations(points, changed, count, expected):
    assert allowed_fall(points, changed, count) == pytest.approx(expected)


# Of 150 images 5 are 3.33 points, and 0.5 + 200·√5/150 = 3.48; 6 are 4 points, more than 3.77.
@pytest.mark.parametrize(("turned", "is_refused"), [(1, False), (5, False), (6, True)])
def test_a_few_images_of_a_small_test_set_are_chance(
    model, classes, tmp_path, monkeypatch, turned, is_refused
):
    turning(monkeypatch, range(turned))
    asked = (model, tmp_path, "litert-float16")
    if is_refused:
        with pytest.raises(ExportError, match=r"fall by 3\.77 points.* 6 of 150 .* 96\.00 % inst"):
            export(*asked, test=(IMAGES, classes))
        assert list(tmp_path.iterdir()) == []
    else:
        (report,) = export(*asked, test=(IMAGES, classes))
        assert report.accuracy == 1 - turned / 150


def test_an_accuracy_that_rises_is_no_fault(model, classes, tmp_path, monkeypatch):
    labels = classes.copy()
    labels[:30] = (labels[:30] + 1) % CLASSES
    turning(monkeypatch, range(30))
    (report,) = export(model, tmp_path, "litert-float16", test=(IMAGES, labels))
    assert report.accuracy == 1


def test_an_exact_file_may_turn_one_image_of_a_small_test_set(
    model, classes, tmp_path, monkeypatch
):
    # Half a point is not allowed here: of 150 images 4 are 2.67 points, and 0.05 + 200·√4/150 = 2.72.
    for turned in (4, 5):
        with monkeypatch.context() as patch:
            turning(patch, range(turned))
            asked = (model, tmp_path / str(turned), "litert-float32")
            if turned == 5:
                with pytest.raises(ExportError, match=r"fall by 3\.03 points: 0\.05, .* 5 of 150"):
                    export(*asked, test=(IMAGES, classes))
            else:
                assert export(*asked, test=(IMAGES, classes))[0].accuracy == 1 - 4 / 150


def test_the_other_formats_are_written_where_one_fails(model, classes, tmp_path, monkeypatch):
    turning(monkeypatch, range(50), ["float16"])
    asked = "litert-float16,litert-float32,litert-int8"
    with pytest.raises(ExportError) as error:
        export(model, tmp_path, asked, test=(IMAGES, classes))
    written = {"student-float32.tflite", "student-int8.tflite"}
    assert {entry.name for entry in tmp_path.iterdir()} == written
    assert [report.format for report in error.value.reports] == ["litert-float32", "litert-int8"]
    assert str(error.value).startswith("litert-float16: A file's accuracy may fall by ")
    assert str(error.value).endswith(" The others are written: litert-float32, litert-int8.")
    outputs = load(tmp_path / "student-float32.tflite")(IMAGES)
    assert (outputs.argmax(axis=1) == classes).all()


def test_every_format_that_fails_is_named(model, classes, tmp_path, monkeypatch):
    turning(monkeypatch, range(50))
    with pytest.raises(ExportError) as error:
        export(model, tmp_path, "litert-float16,litert-float32", test=(IMAGES, classes))
    assert error.value.reports == ()
    assert "litert-float16: A file" in str(error.value)
    assert "litert-float32: A file" in str(error.value)
    assert "are written" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
