import functools

import keras as keras3
import pytest

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.hard_loss import read_loss

losses = keras.losses


def my_loss(y, outputs):
    return tf.reduce_mean((y - outputs) ** 2, axis=-1)


class MyLoss(losses.Loss):
    def call(self, y, outputs):
        return my_loss(y, outputs)


TOLD = [
    (losses.SparseCategoricalCrossentropy(from_logits=True), "softmax", "classes"),
    (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), "softmax", "one-hot"),
    (losses.CategoricalFocalCrossentropy(from_logits=True), "softmax", "one-hot"),
    (tf.nn.sparse_softmax_cross_entropy_with_logits, "softmax", "classes"),
    (losses.BinaryCrossentropy(from_logits=True), "sigmoid", "binary"),
    (losses.BinaryFocalCrossentropy(from_logits=True), "sigmoid", "binary"),
    (functools.partial(losses.binary_crossentropy, from_logits=True), "sigmoid", "binary"),
    (tf.nn.sigmoid_cross_entropy_with_logits, "sigmoid", "binary"),
    *(
        (loss, "regression", None)
        for loss in (
            *("mse", "mae", "mape", "msle", "huber", "log_cosh", "MeanSquaredError", "Huber"),
            *(losses.MeanAbsoluteError(), losses.Huber(0.5), losses.LogCosh(), losses.mse),
            losses.MeanSquaredLogarithmicError(),
        )
    ),
]


@pytest.mark.parametrize("form", [lambda loss: loss, lambda loss: [loss], lambda loss: {"a": loss}])
def test_a_loss_of_keras_tells_what_the_outputs_are(form):
    for loss, task, labels in TOLD:
        hard = read_loss(form(loss))
        assert (hard.task("auto").name, hard.labels) == (task, labels), loss


@pytest.mark.parametrize("given", ["softmax", "sigmoid", "regression"])
def test_a_task_that_is_given_wins(given):
    for loss in ("mse", my_loss, MyLoss(), losses.Hinge(), losses.BinaryCrossentropy(True)):
        assert read_loss(loss).task(given).name == given


@pytest.mark.parametrize("nothing", [None, [], {}, [None], {"a": None}])
def test_no_loss_is_none(nothing):
    assert read_loss(nothing) is None


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("hinge", r"loss=hinge.*Compile keras\.losses\.BinaryCrossentropy\(from_logits=True\)"),
        (losses.SquaredHinge(), "loss=SquaredHinge.*BinaryCrossentropy"),
        (losses.CategoricalHinge(), "loss=CategoricalHinge.*losses.CategoricalCrossentropy"),
        ("Poisson", "loss=Poisson.*MeanSquaredError"),
        (losses.cosine_similarity, "loss=cosine_similarity.*MeanSquaredError"),
        (my_loss, "loss=my_loss.*Pass task='softmax'.*'sigmoid'.*'regression'"),
        (MyLoss(), "loss=MyLoss.*Pass task='softmax'"),
        (functools.partial(my_loss), "loss=my_loss.*Pass task="),
        (lambda y, outputs: tf.abs(y - outputs), "loss=<lambda>.*Pass task="),
        (keras3.losses.MeanSquaredError(), "Received: loss=.*MeanSquaredError.*Pass task="),
    ],
)
def test_a_loss_that_does_not_tell_is_refused_by_name(loss, message):
    with pytest.raises(ValueError, match=message) as refused:
        read_loss(loss).task("auto")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ("bce", "BinaryCrossentropy"),
        (losses.BinaryCrossentropy(), "BinaryCrossentropy"),
        (losses.BinaryFocalCrossentropy(), "BinaryFocalCrossentropy"),
        ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
        (functools.partial(losses.categorical_crossentropy, axis=-1), "CategoricalCrossentropy"),
        (losses.CategoricalFocalCrossentropy(), "CategoricalFocalCrossentropy"),
        (losses.KLDivergence(), "CategoricalCrossentropy"),
        (keras3.losses.BinaryCrossentropy(), "SparseCategoricalCrossentropy"),
    ],
)
def test_a_loss_of_probabilities_is_refused_with_what_to_pass(loss, name):
    message = rf"must take logits.*Pass e\.g\. keras\.losses\.{name}\(from_logits=True\)"
    with pytest.raises(ValueError, match=message):
        read_loss(loss)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (losses.BinaryCrossentropy(True, reduction="sum"), "must average.*reduction='sum'"),
        (losses.MeanSquaredError(reduction="none"), "must average.*reduction='none'"),
        (losses.CategoricalCrossentropy(True, axis=1), "in the last axis.*Received: axis=1"),
        ([losses.MeanSquaredError()] * 2, "one hard loss. Received: 2 losses"),
    ],
)
def test_what_the_soft_loss_cannot_go_beside_is_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        read_loss(loss)
