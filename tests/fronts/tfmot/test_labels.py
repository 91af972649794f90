import numpy as np
import pytest

from tests.parameters import some
from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot import labels as module
from tfqkd.fronts.tfmot.distiller import Distiller

losses = keras.losses
SPARSE = losses.SparseCategoricalCrossentropy(from_logits=True)
BINARY = losses.BinaryCrossentropy(from_logits=True)
X = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 24)


def linear(outputs=4, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(outputs)])


def distiller(loss=SPARSE, outputs=4, **arguments):
    made = Distiller(student=linear(outputs), teacher=linear(outputs, 1))
    made.compile("sgd", loss, **arguments)
    return made


def fit(made, y, **arguments):
    arguments = {"batch_size": 8, "shuffle": False, "verbose": 0, **arguments}
    return made.fit(X, y, **arguments)


def with_one(value, at):
    y = Y.copy()
    y[at] = value
    return y


COMPILED = {"graph": {}, "XLA": {"jit_compile": True}, "eager": {"run_eagerly": True}}


@pytest.mark.parametrize("how", some(COMPILED, "graph", "eager"))
def test_a_class_that_the_student_lacks_is_refused_at_the_first_step(how):
    made = distiller(**COMPILED[how])
    for value, received in ((7, "from 0 to 7"), (-1, "from -1 to 3")):
        with pytest.raises(ValueError, match=f"4 classes.*Received: labels {received}") as refused:
            fit(made, with_one(value, at=2))
        assert "\n" not in str(refused.value)
        assert refused.value.__suppress_context__
    assert made.optimizer.iterations.numpy() <= 2
    # The same distiller trains on when they are mended, and evaluates as well.
    fit(made, Y)
    with pytest.raises(ValueError, match="Received: labels from 0 to 4"):
        made.evaluate(X, with_one(4, at=20), verbose=0)


@pytest.mark.parametrize("how", some(["graph", "XLA"], "graph"))
def test_one_of_a_later_step_is_refused_too_without_a_look_at_every_step(how, monkeypatch):
    looks, look = [], module.copies
    monkeypatch.setattr(module, "copies", lambda variable: looks.append(1) or look(variable))
    made = distiller(**COMPILED[how])
    with pytest.raises(ValueError, match="Received: labels from 0 to 9"):
        fit(made, with_one(9, at=23), batch_size=2, epochs=2)
    assert 1 <= len(looks) <= 2


def test_validation_labels_are_looked_at():
    with pytest.raises(ValueError, match="Received: labels from 0 to 5"):
        fit(distiller(), Y, validation_data=(X, with_one(5, at=3)))


def test_an_ignored_class_is_in_range():
    for loss in (
        losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1),
        losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
    ):
        made = distiller(loss, run_eagerly=True)
        fit(made, with_one(loss.get_config()["ignore_class"], at=3))
        with pytest.raises(ValueError, match="labels from 0 to 4"):
            fit(made, with_one(4, at=3))


@pytest.mark.parametrize("loss", [BINARY, losses.BinaryFocalCrossentropy(from_logits=True)])
def test_labels_that_are_no_yes_or_no_are_refused(loss):
    made = distiller(loss, outputs=1, run_eagerly=True)
    fit(made, (Y > 1).astype(int))
    fit(made, np.linspace(0, 1, 24)[:, None])
    with pytest.raises(ValueError, match=r"from 0 \(no\) to 1 \(yes\).*labels from 0 to 3"):
        fit(made, Y)


def test_values_of_a_regression_may_be_any():
    fit(distiller("mse", outputs=1, run_eagerly=True), Y * 100.0 - 50)


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "message"),
    [
        (SPARSE, 4, np.eye(4)[Y], r"must be numbers of classes.*labels of shape \(8, 4\)"),
        (losses.CategoricalCrossentropy(True), 4, Y, r"must be one-hot.*shape \(8,\)"),
        (losses.CategoricalCrossentropy(True), 4, np.eye(7)[Y], r"one-hot.*shape \(8, 7\)"),
        (BINARY, 4, Y > 1, r"one for each of the student's outputs.*\(8,\).*\(8, 4\)"),
        (BINARY, 4, np.eye(3)[Y % 3], r"one for each of the student's outputs.*\(8, 3\)"),
        (SPARSE, 4, None, "needs labels. Received: batches without labels"),
        (None, 4, Y, "must be compiled with a hard loss. Received: loss=None"),
        ({}, 4, Y, "must be compiled with a hard loss. Received: loss=None"),
    ],
)
def test_labels_of_another_shape_or_none_and_no_loss_are_one_line(loss, outputs, y, message):
    made = distiller(loss, outputs)
    for _ in range(2):
        with pytest.raises(ValueError, match=message) as refused:
            fit(made, y)
        assert "\n" not in str(refused.value)
    assert made.optimizer.iterations.numpy() == 0


@pytest.mark.parametrize("y", [Y, Y[:, None], Y.astype(np.float32), Y.astype(np.uint8)])
def test_numbers_of_classes_come_in_many_forms(y):
    expected = -tf.nn.log_softmax(linear()(X)).numpy()[np.arange(24), Y].mean()
    history = fit(distiller(run_eagerly=True), y, batch_size=24).history
    assert history["hard_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_a_label_for_every_pixel_is_looked_at():
    model = keras.Sequential([keras.Input((3, 2, 5)), keras.layers.Dense(4)])
    made = Distiller(student=model, teacher=model.call)
    made.compile("sgd", SPARSE, run_eagerly=True)
    x, y = np.resize(X, (4, 3, 2, 5)), np.resize(Y, (4, 3, 2))
    made.fit(x, y, verbose=0)
    y[0, 0, 0] = 4
    with pytest.raises(ValueError, match="labels from 0 to 4"):
        made.fit(x, y, verbose=0)


def test_batches_of_a_generator_that_show_no_shape_are_looked_at():
    def examples():
        yield from zip(X, with_one(6, at=1), strict=True)

    batches = tf.data.Dataset.from_generator(examples, output_types=(tf.float32, tf.int64)).batch(8)
    with pytest.raises(ValueError, match=r"4 classes, numbered from 0 to 3.*labels from 0 to 6"):
        distiller().fit(batches, verbose=0)
