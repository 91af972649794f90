import keras as keras3
import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.teachers import LOGITS_IN_BATCH, Ensemble
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.shapes import declared_shape, require_takes
from tfqkd.fronts.tfmot.teachers import as_teacher

IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(6) % 4
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(*shape, library=keras):
    layers = library.layers
    return library.Sequential([library.Input(shape), layers.Flatten(), layers.Dense(4)])


def pooled(*shape):
    """Takes images of every size."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input(shape), layers.Conv2D(2, 3), layers.GlobalMaxPool2D(), layers.Dense(4)]
    )


class Served(tf.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 1])])
    def serve(self, images):
        return {"logits": self.model(images)}


def saved(directory):
    module = Served(network(16, 16, 1))
    tf.saved_model.save(module, directory, signatures=module.serve)
    return tf.saved_model.load(directory)


OTHER = {
    "tf_keras": lambda _: network(16, 16, 1),
    "Keras 3": lambda _: network(16, 16, 1, library=keras3),
    "colours": lambda _: pooled(None, None, 3),
    "SavedModel": saved,
    "signature": lambda directory: saved(directory).signatures["serving_default"],
    "in an ensemble": lambda _: Ensemble([network(8, 8, 1), network(16, 16, 1)]),
}


@pytest.mark.parametrize("kind", OTHER)
def test_a_teacher_of_another_image_size_is_refused_before_training(kind, tmp_path):
    teacher = OTHER[kind](str(tmp_path))
    message = (
        r"a batch of shape \(None, 8, 8, 1\) for a teacher that takes \(None, \S+, \S+, [13]\)"
    )
    with pytest.raises(ValueError, match=message) as refused:
        Distiller(student=network(8, 8, 1), teacher=teacher)
    assert "\n" not in str(refused.value)
    if kind == "tf_keras":
        assert "lambda batch: teacher(tf.image.resize(batch, [16, 16]))" in str(refused.value)
        answers = as_teacher(lambda batch: teacher(tf.image.resize(batch, [16, 16])))(IMAGES)
        assert answers.shape == (6, 4)


class Subclassed(keras.Model):
    def __init__(self, size):
        super().__init__()
        self.inner = network(size, size, 1)
        self(np.zeros((1, size, size, 1), np.float32))

    def call(self, images):
        return self.inner(images)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        # A student that shows no shape, or takes every one: the batch tells.
        (Subclassed(8), network(16, 16, 1), r"8, 8, 1\) for a teacher that takes \(None, 16"),
        (
            pooled(None, None, 1),
            network(16, 16, 1),
            r"for a teacher that takes \(None, 16, 16, 1\)",
        ),
        (network(8, 8, 1), network(16, 16, 1).call, r"A teacher must accept.*8, 8, 1\)"),
        (
            network(8, 8, 1),
            Subclassed(16),
            r"A teacher must accept.*it raised ValueError \(above\)",
        ),
        (network(16, 16, 1), network(16, 16, 1), r"for a student that takes \(None, 16, 16, 1\)"),
        (network(16, 16, 1), lambda batch: batch, r"for a student that takes \(None, 16, 16, 1\)"),
    ],
)
def test_what_the_batch_alone_shows_is_one_line_before_the_first_step(student, teacher, message):
    made = Distiller(student=student, teacher=teacher)
    made.compile("sgd", LOSS)
    with pytest.raises(ValueError, match=message) as refused:
        made.fit(IMAGES, LABELS, verbose=0)
    assert "\n" not in str(refused.value)
    assert made.optimizer.iterations.numpy() == 0


def test_kept_logits_leave_the_images_to_be_looked_at():
    made = Distiller(student=network(16, 16, 1), teacher=LOGITS_IN_BATCH)
    made.compile("sgd", LOSS)
    kept = tf.data.Dataset.from_tensors(((IMAGES, np.zeros((6, 4))), LABELS))
    with pytest.raises(ValueError, match="for a student that takes"):
        made.fit(kept, verbose=0)
    with pytest.raises(ValueError, match="for a student that takes"):
        made.evaluate(IMAGES, LABELS, verbose=0)


@pytest.mark.parametrize(
    ("student", "teacher", "shape"),
    [
        ((8, 8, 1), (8, 8), (8, 8, 1)),
        ((8, 8), (8, 8, 1), (8, 8)),
        ((8, 8), (8, 8), (8, 8, 1)),
    ],
)
def test_a_last_axis_of_one_may_be_missing_as_in_keras(student, teacher, shape):
    for library in (keras, keras3):
        made = Distiller(student=network(*student), teacher=network(*teacher, library=library))
        made.compile("sgd", LOSS, run_eagerly=True)
        made.fit(IMAGES.reshape(6, *shape), LABELS, verbose=0)


def test_what_declares_no_single_shape_passes():
    first, second = keras.Input((5,)), keras.Input((5,))
    total = keras.layers.Dense(4)(first + second)
    several = [
        keras.Model([first, second], total),
        keras.Model({"a": first, "b": second}, total),
        keras.Model((first, second), total),
    ]
    for model in (*several, lambda batch: batch, Subclassed(8), LOGITS_IN_BATCH, "none", None):
        assert declared_shape(model) is None
        require_takes(model, "teacher", IMAGES)
    for batch in ({"a": IMAGES}, [IMAGES, IMAGES], tf.keras.Input((16, 16, 1))):
        require_takes(network(16, 16, 1), "student", batch)


def test_a_student_of_several_inputs_trains_with_a_teacher_of_as_many():
    def model():
        first, second = keras.Input((5,), name="a"), keras.Input((5,), name="b")
        return keras.Model({"a": first, "b": second}, keras.layers.Dense(4)(first + second))

    made = Distiller(student=model(), teacher=model())
    made.compile("sgd", LOSS, run_eagerly=True)
    made.fit({"a": np.ones((6, 5)), "b": np.ones((6, 5))}, LABELS, verbose=0)
