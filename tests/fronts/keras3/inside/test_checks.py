"""What a `Distiller` looks at and refuses: labels, losses, sizes, a teacher's answers."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.fronts.keras3.inside.nets import batch, cross_entropy
from tfqkd.core.teachers import LOGITS_IN_BATCH, Ensemble
from tfqkd.fronts.keras3 import Distiller

INPUTS, LABELS = batch(12)[0], np.arange(12) % 3
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)


def network(name="net", classes=3, size=None):
    """On six features, or on images of a size."""
    inputs = keras.Input((6,) if size is None else (size, size, 1))
    x = inputs if size is None else layers.Flatten()(inputs)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=name)


def compiled(student=None, teacher=None, loss=None, **settings):
    made = Distiller(
        student=student or network(), teacher=teacher or network("teacher"), **settings
    )
    made.compile("sgd", loss or cross_entropy())
    return made


def fit(made, labels=LABELS, inputs=INPUTS, **options):
    return made.fit(inputs, labels, batch_size=4, shuffle=False, verbose=0, **options)


def with_one(value, at):
    labels = LABELS.copy()
    labels[at] = value
    return labels


def test_labels_out_of_range_are_refused_in_one_line():
    made = compiled()
    for value, at, received in ((7, 2, "0 to 7"), (-1, 3, "-1 to 2"), (9, 11, "0 to 9")):
        with pytest.raises(
            ValueError, match=f"3 classes.*Received: labels from {received}"
        ) as refused:
            fit(made, with_one(value, at))
        assert "\n" not in str(refused.value)
        # The first step tells, or the end.
        assert int(made.optimizer.iterations.value) <= (2 if at < 4 else 5)
    # The same distiller trains on when they are mended, and evaluates as well.
    fit(made)
    with pytest.raises(ValueError, match="Received: labels from 0 to 4"):
        made.evaluate(INPUTS, with_one(4, 5), verbose=0)
    with pytest.raises(ValueError, match="Received: labels from 0 to 5"):
        fit(made, validation_data=(INPUTS, with_one(5, 5)))


@pytest.mark.slow
def test_an_ignored_class_and_labels_of_yes_or_no_are_in_range():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    fit(compiled(loss=loss), with_one(-1, 3))
    yes_or_no = compiled(network(classes=1), network("teacher", classes=1), BINARY)
    fit(yes_or_no, (LABELS > 1).astype(int))
    fit(yes_or_no, np.linspace(0, 1, 12)[:, None])
    with pytest.raises(ValueError, match=r"from 0 \(no\) to 1 \(yes\).*labels from 0 to 2"):
        fit(yes_or_no)


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (cross_entropy(), np.eye(3)[LABELS], r"must be numbers of classes.*\(4, 3\)"),
        (keras.losses.CategoricalCrossentropy(True), LABELS, "must be one-hot"),
        (BINARY, LABELS > 1, "one for each of the student's outputs"),
        (cross_entropy(), None, "needs labels. Received: batches without labels"),
    ],
)
def test_labels_of_another_shape_are_refused(loss, labels, message):
    with pytest.raises(ValueError, match=message.replace("4", "(4|None)")):
        fit(compiled(loss=loss), labels)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("kl_divergence", r"takes probabilities.*CategoricalCrossentropy\(from_logits=True\)"),
        (
            keras.losses.BinaryCrossentropy(),
            r"Pass e\.g\. .*BinaryCrossentropy\(from_logits=True\)",
        ),
        (keras.losses.Poisson(), r"loss=Poisson.*MeanSquaredError"),
        ("hinge", r"loss=hinge.*Compile keras\.losses\.BinaryCrossentropy"),
        (lambda labels, outputs: outputs, "loss=<lambda>.*Pass task='softmax'"),
    ],
)
def test_a_loss_of_other_outputs_is_refused_with_what_to_pass(loss, message):
    with pytest.raises(ValueError, match=message):
        compiled(loss=loss)


def test_a_training_without_a_loss_is_refused():
    with pytest.raises(
        ValueError, match=r"must be compiled with a hard loss\. Received: loss=None"
    ):
        fit(Distiller(student=network(), teacher=network("teacher")))


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (network(size=8), r"a batch of shape \(None, 4, 4, 1\) for a teacher that takes \(None, 8"),
        (Ensemble([network("a", size=4), network("b", size=8)]), "for a teacher that takes"),
        (network(size=4, classes=5), "a student with 3 and a teacher with 5"),
    ],
)
def test_a_teacher_of_other_sizes_is_refused_at_once(teacher, message):
    with pytest.raises(ValueError, match=message) as refused:
        Distiller(student=network(size=4), teacher=teacher)
    assert "\n" not in str(refused.value)
    if "shape" in message:
        assert "lambda batch: teacher(keras.ops.image.resize(batch, [8, 8]))" in str(refused.value)


def test_a_batch_that_the_student_does_not_take_is_refused():
    made = compiled(network(size=4), LOGITS_IN_BATCH)
    images = np.zeros((12, 5, 5, 1), "float32")
    with pytest.raises(ValueError, match=r"for a student that takes \(None, 4, 4, 1\)"):
        made.evaluate(images, LABELS, verbose=0)


def test_a_function_that_answers_in_probabilities_is_refused_after_the_first_step():
    teacher = network("teacher")
    made = compiled(teacher=lambda inputs: keras.ops.softmax(teacher(inputs)))
    with pytest.raises(ValueError, match=r"must return logits.*Received: probabilities"):
        fit(made, epochs=3)
    assert int(made.optimizer.iterations.value) <= 1
    # Logarithms of probabilities are logits.
    fit(compiled(teacher=lambda inputs: keras.ops.log_softmax(teacher(inputs))))


def test_ensembles_of_ensembles_are_means_of_means():
    a, b, c = (network(name) for name in "abc")
    answers = [inputs.predict(INPUTS, verbose=0) for inputs in (a, b, c)]
    expected = (answers[0] + (answers[1] + answers[2]) / 2) / 2
    student = network()
    logits = student.predict(INPUTS, verbose=0)
    made = Distiller(student=student, teacher=Ensemble([a, Ensemble([b, c])]), coefficient=1.0)
    made.compile(keras.optimizers.SGD(0.0), cross_entropy())
    logs = made.fit(INPUTS, LABELS, batch_size=12, verbose=0).history
    agreement = np.mean(expected.argmax(axis=1) == logits.argmax(axis=1))
    assert logs["agreement"][0] == pytest.approx(agreement)
