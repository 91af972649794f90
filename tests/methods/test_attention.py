import numpy as np
import pytest

from methods.training_of import Training, assert_same, data, network
from tfqkd.compat import keras, tf
from tfqkd.core.ops import NUMPY
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.taps import tapped
from tfqkd.methods.attention import Attention, attention_loss

# Height, width, channels; the values that ../reference gives for its formulas.
STUDENT = np.float32([[[[1, 2], [0, 1]], [[3, 0], [1, 1]]]])
TEACHER = np.float32([[[[2, 0], [1, 1]], [[0, 1], [1, 2]]]])


@pytest.mark.parametrize(("form", "value"), [("squares", 0.213111), ("distance", 0.923280)])
def test_it_has_the_published_values(form, value):
    assert attention_loss(STUDENT, TEACHER, form, NUMPY)[0] == pytest.approx(value, abs=1e-6)
    assert float(attention_loss(STUDENT, TEACHER, form, OPS)[0]) == pytest.approx(value, abs=1e-6)


def test_identities():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 5, 4, 3, 6)).astype(np.float32)
    loss = attention_loss(one, other, "squares", NUMPY)
    assert loss.shape == (5,)
    # Scale and sign of the features do not matter, and of the channels the number.
    scaled = attention_loss(one, -3 * np.repeat(other, 2, axis=-1), "squares", NUMPY)
    np.testing.assert_allclose(scaled, loss, rtol=1e-5)
    maps = [np.mean(each.astype(np.float64) ** 2, axis=-1).reshape(5, -1) for each in (one, other)]
    maps = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in maps]
    cosine = np.sum(maps[0] * maps[1], axis=1)
    np.testing.assert_allclose(loss, (2 - 2 * cosine) / 12, rtol=1e-4)
    np.testing.assert_array_equal(attention_loss(one, one, "squares", NUMPY), 0)


def test_no_gradient_reaches_the_teacher_and_dead_maps_give_none():
    student, teacher = tf.Variable(STUDENT), tf.Variable(TEACHER)
    zero = tf.zeros_like(student)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(zero)
        loss = attention_loss(student, teacher, "distance", OPS)
        dead = attention_loss(zero, teacher, "squares", OPS)
    assert tape.gradient(loss, teacher) is None
    assert np.isfinite(tape.gradient(loss, student)).all()
    assert np.isfinite(tape.gradient(dead, zero)).all()


def test_the_loss_of_a_training_is_that_of_the_maps_that_it_names():
    teacher = network(9, filters=7)
    method = Attention(weight=2.0, falls=False, student_taps=("late",), teacher_taps=("late",))
    training = Training((method,), teacher=teacher)
    noted = training.run()
    first = training.student
    logs = noted.logs[-1]
    assert logs["loss"] == pytest.approx(logs["hard_loss"] + 2 * logs["attention_loss"], rel=1e-5)
    images = data().train.images
    taps = [
        tapped(model, ["late"], "x")(images, training=mode)[0]
        for model, mode in ((first, True), (teacher, False))
    ]
    assert float(tf.reduce_mean(attention_loss(*taps, "squares", OPS))) > 0
    assert "agreement" not in logs


def test_by_default_the_last_maps_of_each_size_are_paired():
    shown = [front.network(model, network) for model in (network(1), network(2, 5))]
    (term,) = Attention().terms(shown[0], shown[1:])
    assert term.student_taps == term.teacher_taps == ("early", "late")


def test_the_weight_falls_to_zero_epoch_by_epoch():
    logs = Training((Attention(weight=3.0),), teacher=network(9)).run().logs
    rest = [(each["loss"] - each["hard_loss"]) / each["attention_loss"] for each in logs]
    np.testing.assert_allclose(rest, [3.0, 2.0, 1.0, 0.0], atol=2e-3)


def test_without_weight_it_is_the_plain_run_to_the_bit():
    plain, nothing = Training(()), Training((Attention(weight=0.0),), teacher=network(9))
    plain.run()
    nothing.run()
    assert_same(plain.weights(), nothing.weights())


def test_taps_change_no_logits_and_keep_the_variables():
    student = Training(()).student
    both = tapped(student, ["early", "second"], "student")
    images = data().train.images
    for training in (False, True):
        early, second, logits = both(images, training=training)
        np.testing.assert_array_equal(logits, student(images, training=training))
    assert early.shape == (24, 6, 6, 4)
    assert second.shape == (24, 3, 3, 4)
    assert {id(each) for each in both.weights} <= {id(each) for each in student.weights}


def test_what_has_no_such_layers_is_refused():
    with pytest.raises(ValueError, match=r"names of its layers. Received: absent"):
        Training((Attention(student_taps=("absent",), teacher_taps=("late",)),), teacher=network(9))
    with pytest.raises(ValueError, match="one live teacher that shows its layers"):
        Training((Attention(),))
    dense = keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    with pytest.raises(ValueError, match="one height and width"):
        Training((Attention(),), teacher=dense)
    with pytest.raises(ValueError, match="the same number of layers"):
        Attention(student_taps=("late",))
    with pytest.raises(ValueError, match=r"attention\.form"):
        Attention(form="cosine")
