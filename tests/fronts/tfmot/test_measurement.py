import json

import numpy as np
import pytest
from matplotlib import image as png
from training.finished import RECIPE
from training.linear import save_linear

from tfqkd.compat import tf
from tfqkd.data import load
from tfqkd.export import ExportError
from tfqkd.fronts.tfmot.saved_models import load_model
from tfqkd.reporting import measurement
from tfqkd.reporting.measurement import export_run, measure_run, run_file
from tfqkd.runtime import LitertModel
from tfqkd.training.run import run


@pytest.fixture(scope="module")
def digits():
    return load("digits").test


@pytest.fixture(scope="module")
def measured(finished):
    return measure_run(finished.directory)


def best(path, split):
    return load_model(path).predict(split.images, verbose=0).argmax(axis=1)


def test_every_model_and_file_is_measured(measured, finished):
    assert [entry.name for entry in measured] == [
        "float teacher (cnn4)",
        "float student (cnn2)",
        "ternary student, gradual coefficient (cnn2)",
        "student-int8.tflite",
    ]
    for entry, model in zip(measured, finished.results.models, strict=False):
        assert entry.figures.accuracy == model.accuracy
        assert entry.figures.top5 == model.top5
        assert entry.figures.loss == pytest.approx(model.loss, rel=1e-5)


def test_the_exported_file_is_as_good_as_the_student(measured, finished, digits):
    student, file = measured[2:]
    assert file.figures.accuracy == student.figures.accuracy
    assert file.figures.top5 == student.figures.top5
    assert file.figures.loss == pytest.approx(student.figures.loss, rel=1e-4)
    np.testing.assert_array_equal(file.figures.confusion, student.figures.confusion)
    logits = LitertModel(finished.directory / "export" / "student-int8.tflite")(digits.images)
    assert file.figures.accuracy == (logits.argmax(axis=1) == digits.labels).mean()


def test_agreement_is_the_share_of_images_with_the_teachers_class(measured, finished, digits):
    teacher = best(finished.model_path("float teacher"), digits)
    for entry, role in zip(measured, ("float teacher", "float student", "ternary"), strict=False):
        same = best(finished.model_path(role), digits) == teacher
        assert entry.agreement == same.mean()
    assert measured[0].agreement == 1.0
    assert measured[3].agreement == measured[2].agreement < 1


def test_what_was_measured_is_written(measured, finished, digits):
    written = json.loads((finished.directory / "evaluation.json").read_text())
    assert written["class_names"] == list("0123456789")
    counts = np.bincount(digits.labels)
    for entry, found in zip(written["models"], measured, strict=True):
        assert entry["name"] == found.name
        assert entry["agreement"] == found.agreement
        assert entry["accuracy"] == found.figures.accuracy
        confusion = np.array(entry["confusion"])
        assert confusion.sum() == len(digits) == 600
        np.testing.assert_array_equal(confusion.sum(axis=1), counts)
        assert np.trace(confusion) / 600 == pytest.approx(entry["accuracy"])
        assert entry["recall"] == pytest.approx(np.diag(confusion) / counts)
        assert entry["calibration_error"] == found.figures.calibration_error > 0
    # Four matrices: two rows of three places, 5.2 by 4.8 inches each, at 120 dots an inch.
    assert png.imread(finished.directory / "confusion.png").shape == (1152, 1872, 4)


@pytest.mark.slow
def test_files_that_were_exported_later_are_measured_too(tmp_path, digits):
    kernel, bias = save_linear(tmp_path / "student.keras", seed=5)
    recipe = RECIPE.changed(
        {"quantized.training.epochs": 0},
        student=str(tmp_path / "student.keras"),
        teacher="none",
        bits=32,
        formats=(),
    )
    directory = tmp_path / "run"
    run(recipe, directory)
    (report,) = export_run(directory, ["litert-float32"], directory / "export")
    assert report.format == "litert-float32"
    *_, student, file = measure_run(directory)
    assert file.name == "student-float32.tflite"
    right = (digits.images.reshape(600, 64) @ kernel + bias).argmax(axis=1) == digits.labels
    assert file.figures.accuracy == student.figures.accuracy == right.mean()
    # Without a teacher there is nobody to agree with.
    assert student.agreement is file.agreement is None


def test_a_saved_model_is_run(tmp_path, digits, monkeypatch):
    generator = np.random.default_rng(0)
    kernel = generator.normal(0, 0.01, (64, 10)).astype(np.float32)

    class Linear(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="images")])
        def serve(self, images):
            return {"logits": tf.reshape(images, [-1, 64]) @ kernel}

    module = Linear()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.serve)
    monkeypatch.setattr(measurement, "_BATCH", 250)
    found = run_file(tmp_path / "model", digits.images)
    np.testing.assert_allclose(found, digits.images.reshape(600, 64) @ kernel, rtol=1e-4, atol=1e-4)


def test_several_teachers_count_by_the_mean_of_their_logits(tmp_path, digits):
    paths = [tmp_path / f"{name}.keras" for name in ("first", "second", "student")]
    weights = [save_linear(path, seed) for seed, path in enumerate(paths)]
    recipe = RECIPE.changed(
        {"quantized.training.epochs": 0},
        teacher=f"{paths[0]},{paths[1]}",
        student=str(paths[2]),
        bits=32,
        formats=(),
    )
    run(recipe, tmp_path / "run")
    found = measure_run(tmp_path / "run")
    assert [entry.name for entry in found] == [
        "float teacher 1 (linear)",
        "float teacher 2 (linear)",
        "float student (linear)",
        "float student, gradual coefficient (linear)",
    ]
    pixels = digits.images.reshape(600, 64).astype(np.float64)
    logits = [pixels @ kernel + bias for kernel, bias in weights]
    together = np.mean(logits[:2], axis=0).argmax(axis=1)
    for entry, own in zip(found, [*logits, logits[2]], strict=True):
        assert entry.figures.accuracy == (own.argmax(axis=1) == digits.labels).mean()
        assert entry.agreement == (own.argmax(axis=1) == together).mean()


def test_files_are_run_in_batches(finished, digits, monkeypatch):
    path = finished.directory / "export" / "student-int8.tflite"
    at_once = run_file(path, digits.images)
    monkeypatch.setattr(measurement, "_BATCH", 250)
    np.testing.assert_allclose(run_file(path, digits.images), at_once, atol=1e-6)
    assert at_once.shape == (600, 10)


def test_a_run_that_is_not_finished_is_not_measured_or_exported(finished, tmp_path):
    (tmp_path / "recipe.json").write_text(RECIPE.to_json())
    with pytest.raises(ValueError, match=r"must hold a finished run.*Finish the run first"):
        measure_run(tmp_path)
    with pytest.raises(ValueError, match="must hold a finished run"):
        export_run(tmp_path, ["saved_model"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(ValueError, match=r"must hold recipe\.json"):
        export_run(tmp_path, ["saved_model"], tmp_path / "out")


def test_an_export_goes_where_it_is_asked_to(finished, tmp_path, digits):
    (report,) = export_run(finished.directory, ["litert-float32"], tmp_path / "out")
    assert report.path == str(tmp_path / "out" / "student-float32.tflite")
    assert report.images == 64
    model = LitertModel(report.path)
    assert model.class_names == tuple("0123456789")
    expected = load_model(finished.model_path("ternary")).predict(digits.images[:20], verbose=0)
    np.testing.assert_allclose(model(digits.images[:20]), expected, atol=1e-4)
    with pytest.raises(ExportError):
        export_run(finished.directory, ["litert-float32"], tmp_path / "out" / report.path)
