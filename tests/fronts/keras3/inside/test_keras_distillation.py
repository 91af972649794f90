"""What Keras' own Distiller does otherwise, as docs/keras3.md says; the slow tests go with one of ours."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.distillation import Distiller, LogitsDistillation

from tests.fronts.keras3.inside.nets import BACKEND, array, batch, cross_entropy
from tfqkd.fronts import keras3

pytestmark = pytest.mark.slow


def linear(name="linear", extra=None, **options):
    inputs = keras.Input((6,))
    x = layers.Dense(3, name="logits", **options)(inputs)
    return keras.Model(inputs, extra(x) if extra else x, name=name)


def theirs(student, teacher=None, loss="kl_divergence", **settings):
    distiller = Distiller(
        teacher=teacher or linear("teacher"),
        student=student,
        distillation_losses=LogitsDistillation(temperature=4.0, loss=loss),
        **settings,
    )
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    return distiller


def ours(student):
    distiller = keras3.Distiller(student=student, teacher=linear("teacher"), temperature=4.0)
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    return distiller


def trained(begin, weight=None, **options):
    """The kernel before and after a step, of a student that always starts the same."""
    keras.utils.set_random_seed(3)
    student = linear(**options)
    before = student.get_weights()[0]
    weights = None if weight is None else np.full(8, weight, np.float32)
    begin(student).fit(*batch(8), batch_size=8, sample_weight=weights, verbose=0)
    return before, student.get_weights()[0]


def test_it_ignores_sample_weights():
    moved = [trained(theirs, weight)[1] for weight in (0.0, 1.0)]
    np.testing.assert_array_equal(*moved)
    before, after = trained(ours, 0.0)
    np.testing.assert_array_equal(before, after)
    before, after = trained(ours, 1.0)
    assert np.any(before != after)


def test_it_ignores_regularisers():
    for begin, same in ((theirs, True), (ours, False)):
        plain = trained(begin)[1]
        decayed = trained(begin, kernel_regularizer=keras.regularizers.L2(1.0))[1]
        assert np.array_equal(plain, decayed) is same


class Penalty(layers.Layer):
    """A loss of 7."""

    def call(self, inputs):
        self.add_loss(keras.ops.convert_to_tensor(7.0))
        return inputs


def test_it_ignores_losses_of_layers():
    def loss(begin, extra):
        keras.utils.set_random_seed(3)
        return begin(linear(extra=extra)).fit(*batch(8), verbose=0).history["loss"][0]

    assert loss(theirs, Penalty()) == pytest.approx(loss(theirs, None), rel=1e-5)
    assert loss(ours, Penalty()) == pytest.approx(loss(ours, None) + 7, rel=1e-5)


def test_the_weight_of_the_loss_is_frozen_in_a_traced_step():
    after = {}
    for changed in (False, True):
        keras.utils.set_random_seed(3)
        student = linear()
        distiller = theirs(student)
        distiller.fit(*batch(8), verbose=0)
        distiller.student_loss_weight = 0.0 if changed else 0.5
        distiller.fit(*batch(8), verbose=0)
        after[changed] = student.get_weights()[0]
    frozen = BACKEND != "torch"  # Which traces nothing.
    assert np.array_equal(after[False], after[True]) is frozen


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["kl_divergence", "categorical_crossentropy"])
def test_losses_by_name_get_logits_for_probabilities_and_are_not_scaled(name):
    random = np.random.default_rng(0)
    answers, logits = (random.normal(0, 4, (5, 3)).astype("float32") for _ in range(2))
    softened, own = softmax(answers / 4), softmax(logits / 4)
    divergence = (softened * np.log(softened / own)).sum(axis=-1).mean()

    def loss(given):
        settings = {} if given == "kl_divergence" else {"loss": given}  # It is the default.
        found = LogitsDistillation(temperature=4.0, **settings).compute_loss(answers, logits)
        return float(array(found))

    assert loss(keras.losses.KLDivergence()) == pytest.approx(16 * divergence, rel=1e-3)
    taken_for_shares = array(getattr(keras.losses, name)(answers / 4, logits / 4))
    assert loss(name) == pytest.approx(taken_for_shares.mean(), rel=1e-4)
    entropy = -(softened * np.log(own)).sum(axis=-1).mean()
    wanted = divergence if name == "kl_divergence" else entropy
    assert all(abs(loss(name) - factor * wanted) > 0.1 for factor in (1, 16))


def test_teacher_and_student_must_have_one_dtype_and_be_models():
    half = linear("half", dtype="float16")
    for teacher, message in ((half, "dtypes must match"), (lambda x: x, "must be a keras.Model")):
        with pytest.raises(ValueError, match=message):
            theirs(linear(), teacher)
        keras3.Distiller(student=linear(), teacher=teacher)


def test_the_teacher_is_frozen_saved_and_asked_in_evaluate(tmp_path):
    teacher, student = linear("teacher"), linear()
    distiller = theirs(student, teacher)
    assert not teacher.trainable
    inputs, labels = batch(8)
    distiller.fit(inputs, labels, verbose=0)
    distiller.save_weights(tmp_path / "theirs.weights.h5")
    assert b"teacher" in (tmp_path / "theirs.weights.h5").read_bytes()
    losses = [distiller.evaluate(inputs, labels, verbose=0)]
    teacher.set_weights([3 * weight + 1 for weight in teacher.get_weights()])
    losses.append(distiller.evaluate(inputs, labels, verbose=0))
    first, second = (loss if isinstance(loss, float) else loss[0] for loss in losses)
    assert abs(first - second) > 1e-3
