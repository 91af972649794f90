import subprocess
import sys

import numpy as np
import pytest

from tfqkd.compat import tf
from tfqkd.export import ExportError, saved_model, to_saved_model
from tfqkd.fronts.tfmot.teachers import as_teacher

from . import classifier

# A process in which neither tfqkd nor what it builds on can be imported.
PLAIN_TENSORFLOW = """
import sys
for name in ("tfqkd", "tf_keras", "tensorflow_model_optimization"):
    sys.modules[name] = None
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
serve = model.signatures["serving_default"]
inputs, outputs = serve.structured_input_signature[1], serve.structured_outputs
assert inputs == {"images": tf.TensorSpec([None, 12, 12, 3], tf.float32, "images")}, inputs
assert outputs["logits"].shape.as_list() == [None, 5], outputs
assert outputs["logits"].dtype == tf.float32, outputs
images = np.load(sys.argv[2])
np.save(sys.argv[3], np.concatenate([serve(images=tf.constant(part))["logits"]
                                     for part in (images[:1], images[1:])]))
"""


def test_its_signature_names_inputs_and_outputs_and_equals_keras(exported):
    images = classifier.pixels(8)
    model = tf.saved_model.load(str(exported.directory / "saved_model"))
    serve = model.signatures["serving_default"]
    inputs, outputs = serve.structured_input_signature[1], serve.structured_outputs
    assert inputs == {"images": tf.TensorSpec([None, 12, 12, 3], tf.float32, "images")}
    assert outputs["logits"].shape.as_list() == [None, 5]
    assert outputs["logits"].dtype == tf.float32
    for part in (images[:1], images[1:]):
        logits = serve(images=tf.constant(part))["logits"]
        np.testing.assert_allclose(logits, exported.model(part), rtol=1e-5, atol=1e-5)


def test_its_graph_holds_operations_of_tensorflow_alone(exported):
    """So it runs where tfqkd, tf_keras and tfmot are not installed; the slow test tries."""
    text = (exported.directory / "saved_model" / "saved_model.pb").read_bytes()
    for name in (b"keras_metadata", b"tf_keras", b"tensorflow_model_optimization"):
        assert name not in text


@pytest.mark.slow
def test_runs_in_plain_tensorflow_and_equals_keras(exported, tmp_path):
    images = classifier.pixels(8)
    np.save(tmp_path / "images.npy", images)
    arguments = [
        exported.directory / "saved_model",
        tmp_path / "images.npy",
        tmp_path / "logits.npy",
    ]
    subprocess.run([sys.executable, "-c", PLAIN_TENSORFLOW, *map(str, arguments)], check=True)
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(logits, exported.model(images), rtol=1e-5, atol=1e-5)


def test_it_teaches_from_the_images_as_they_are_stored(exported):
    images = np.round(classifier.pixels(4)).astype(np.uint8)
    loaded = tf.saved_model.load(str(exported.directory / "saved_model"))
    expected = exported.model(images.astype(np.float32))
    for teacher in (loaded, loaded.signatures["serving_default"]):
        logits = tf.function(as_teacher(teacher))(tf.constant(images))
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_class_names_are_a_text_file(exported):
    labels = exported.directory / "saved_model" / "assets" / "labels.txt"
    assert labels.read_text("utf-8").splitlines() == list(classifier.CLASS_NAMES)


def test_report_says_what_was_written(exported):
    report = exported.reports["saved_model"]
    assert report.path == str(exported.directory / "saved_model")
    assert report.agreement == 1.0 and report.max_difference <= 1e-4 and report.images == 16
    assert report.quantized == ()
    weights = sum(np.size(weight) for weight in exported.model.get_weights())
    assert report.bytes > 4 * weights


@pytest.mark.slow
def test_a_wrong_saved_model_never_replaces_a_right_one(exported, tmp_path, monkeypatch):
    target = tmp_path / "saved_model"
    target.mkdir()
    (target / "saved_model.pb").write_bytes(b"an earlier one")

    def save_wrongly(source, directory):
        if source.model.layers[-1].name == "head":
            source.model.layers[-1].bias.assign_add([0.01, 0.0, 0.0, 0.0, 0.0])
        save(source, directory)

    save = saved_model.save
    monkeypatch.setattr(saved_model, "save", save_wrongly)
    with pytest.raises(ExportError, match=r"Received: logits that differ by up to 1\.0e-02"):
        to_saved_model(exported.model, target)
    assert (target / "saved_model.pb").read_bytes() == b"an earlier one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved_model"]


def test_what_is_no_saved_model_is_not_replaced(exported, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="must be free, or an earlier SavedModel"):
        to_saved_model(exported.model, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
