"""RKD and FSP against their formulas in NumPy."""

import itertools

import numpy as np
import pytest

from tfqkd.compat import tf
from tfqkd.core.ops import NUMPY
from tfqkd.core.relations import angle_loss, distance_loss, flow, flow_loss
from tfqkd.fronts.tfmot.ops import OPS

rng = np.random.default_rng(0)
# The values that the methods' own code has for these.
STUDENT, TEACHER = [[1, 0], [0, 2], [1, 1]], [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
KNOWN = {distance_loss: 0.036607, angle_loss: 0.065596}


def huber(values):
    return np.where(np.abs(values) < 1, values**2 / 2, np.abs(values) - 0.5)


def expected(loss, student, teacher):
    """Pair by pair and triple by triple, in float64."""
    found = []
    for embeddings in (np.float64(student), np.float64(teacher)):
        count = range(len(embeddings))
        if loss is distance_loss:
            pairs = [[np.linalg.norm(embeddings[i] - embeddings[j]) for j in count] for i in count]
            found.append(np.array(pairs) / np.sum(pairs) * len(pairs) * (len(pairs) - 1))
        else:
            cosines = np.zeros([len(embeddings)] * 3)
            for i, j, k in itertools.product(count, repeat=3):
                one, other = embeddings[j] - embeddings[i], embeddings[k] - embeddings[i]
                length = np.linalg.norm(one) * np.linalg.norm(other)
                cosines[i, j, k] = one @ other / length if length else 0.0
            found.append(cosines)
    return huber(found[0] - found[1]).mean()


@pytest.mark.parametrize("loss", KNOWN)
def test_relations_of_examples_have_the_known_values(loss):
    both = np.float32(STUDENT), np.float32(TEACHER)
    assert float(loss(*both, ops=NUMPY)) == pytest.approx(KNOWN[loss], abs=1e-6)
    assert float(loss(*map(tf.constant, both), ops=OPS)) == pytest.approx(KNOWN[loss], abs=1e-6)
    student, teacher = 3 * rng.normal(size=(5, 4)), rng.normal(size=(5, 7))
    assert float(loss(student, teacher, NUMPY)) == pytest.approx(
        expected(loss, student, teacher), rel=1e-5
    )


@pytest.mark.parametrize("loss", KNOWN)
def test_relations_know_no_rotation_shift_or_scale(loss):
    teacher = rng.normal(size=(6, 5)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    moved = (0.3 * teacher @ turn + 2).astype(np.float32)
    assert float(loss(moved, teacher, NUMPY)) == pytest.approx(0, abs=1e-10)
    assert float(loss(teacher, teacher, NUMPY)) == 0
    assert float(loss(teacher[:1], teacher[:1], NUMPY)) == 0


@pytest.mark.parametrize("loss", KNOWN)
@pytest.mark.parametrize("rows", [STUDENT, [[1.0, 2.0]] * 3, [[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]]])
def test_gradients_are_finite_where_examples_coincide(loss, rows):
    student, teacher = tf.constant(rows, tf.float32), tf.constant(TEACHER, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([student, teacher])
        value = loss(student, teacher, OPS)
    gradient, none = tape.gradient(value, [student, teacher])
    assert none is None
    assert np.isfinite(gradient).all()


def test_flow_is_the_mean_of_products_over_places():
    lower, upper = rng.normal(size=(2, 4, 6, 3)), rng.normal(size=(2, 2, 3, 5))
    pooled = lower.reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    product = np.einsum("bhwi,bhwj->bij", pooled, upper) / 6
    for ops, make in ((NUMPY, np.float32), (OPS, tf.constant)):
        np.testing.assert_allclose(
            flow(make(lower), make(upper), ops), product, rtol=1e-4, atol=1e-6
        )
    other = rng.normal(size=(2, 1, 2, 3)), rng.normal(size=(2, 1, 2, 5))
    found = flow_loss((lower, upper), other, NUMPY)
    difference = product - np.einsum("bhwi,bhwj->bij", *other) / 2
    np.testing.assert_allclose(found, (difference**2).mean((1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(flow_loss((lower, upper), (lower, upper), NUMPY), 0)
