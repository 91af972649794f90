"""Teachers that the Keras of a run does not load."""

import numpy as np
import pytest

from tfqkd import models
from tfqkd.compat import keras, tf
from tfqkd.data import load
from tfqkd.export import to_litert
from tfqkd.fronts.foreign import ForeignTeacher, is_foreign
from tfqkd.recipe.recipe import Recipe
from tfqkd.runtime.evaluation import evaluate_logits
from tfqkd.training.run import run

IMAGES = load("digits").test.images[:300]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return models.build("cnn2", (8, 8, 1), 10, mean=(80.0,), std=(90.0,))


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "teacher.tflite"
    to_litert(model, path, format="litert-float32", images=IMAGES[:8], output="logits")
    return path


def test_an_exported_file_gives_the_logits_of_its_model(model, file):
    teacher = ForeignTeacher(file)
    expected = model(IMAGES.astype(np.float32)).numpy()
    np.testing.assert_allclose(teacher(IMAGES), expected, rtol=1e-4, atol=1e-4)
    in_graph = tf.function(teacher)(tf.constant(IMAGES[:5], tf.float32))
    np.testing.assert_allclose(in_graph, expected[:5], rtol=1e-4, atol=1e-4)
    assert teacher.facts().input_shape == (8, 8, 1) and teacher.facts().output_shape == (10,)


def test_of_probabilities_it_gives_what_softens_alike(model, tmp_path):
    ends = keras.Sequential([model, keras.layers.Softmax()])
    ends.build((None, 8, 8, 1))
    path = tmp_path / "teacher.tflite"
    to_litert(ends, path, format="litert-float32", images=IMAGES[:8], output="softmax")
    logits = model(IMAGES.astype(np.float32)).numpy()
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ForeignTeacher(path)(IMAGES), expected, atol=2e-3)


def test_whose_model_a_file_is(model, file, tmp_path):
    model.save(tmp_path / "own.keras")
    model.save(tmp_path / "own", save_format="tf")
    assert is_foreign(file, None) and is_foreign(file, 3)
    for name in ("own.keras", "own"):
        assert not is_foreign(tmp_path / name, None) and is_foreign(tmp_path / name, 3)


SETTINGS = {
    "data.train_examples": 64,
    "data.crop_padding": 1,
    "student.training.epochs": 0,
    "quantized.training.epochs": 1,
    "training.batch_size": 16,
}


def test_a_file_teaches_through_kept_logits(file, tmp_path):
    recipe = Recipe(
        {**SETTINGS, "teacher.views": 1},
        dataset="digits",
        student="cnn2",
        teacher=str(file),
        formats=(),
    )
    results = run(recipe, tmp_path / "run")
    test = load("digits").test
    figures = evaluate_logits(ForeignTeacher(file)(test.images), test.labels)
    (teacher,) = results.teachers
    assert (teacher.accuracy, teacher.loss) == (figures.accuracy, figures.loss)
    assert list((tmp_path / "run" / "products").glob("logits-*"))


def test_a_file_does_not_teach_live(file, tmp_path):
    recipe = Recipe(SETTINGS, dataset="digits", student="cnn2", teacher=str(file), formats=())
    with pytest.raises(ValueError, match=r"must have its logits kept.*--teacher\.views=16"):
        run(recipe, tmp_path / "run")
