import dataclasses

import numpy as np
import pytest

from methods.training_of import Training, assert_same, network, resumed
from tfqkd.compat import keras
from tfqkd.fronts.terms import Seen
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.taps import between
from tfqkd.methods.hooks import terms_of
from tfqkd.methods.interactive import Interactive

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 6, 6, 1)).astype(np.float32)


def terms_and_seen(method, student, teacher):
    terms = terms_of([method], front, student, [teacher], lambda name, seed: None, lambda: None)
    fields = dict.fromkeys(field.name for field in dataclasses.fields(Seen))
    for role, model in (("student", student), ("teacher", teacher)):
        outputs = [model.get_layer(n).output for n in getattr(terms[0], f"{role}_taps")]
        fields[f"{role}_taps"] = tuple(keras.Model(model.input, outputs)(IMAGES))
    return terms, Seen(**fields | {"ops": OPS})


def test_the_part_of_the_teacher_is_the_teacher():
    teacher = network(2, 6)
    lower, upper = (teacher.get_layer(name).output for name in ("early", "late"))
    low, high = keras.Model(teacher.input, [lower, upper])(IMAGES)
    part = between(teacher, "early", "late")
    np.testing.assert_array_equal(part(low), high)
    # The teacher itself is as it was.
    assert len(teacher.get_layer("second").inbound_nodes) == 1
    with pytest.raises(ValueError, match="reads more than the output of late"):
        between(teacher, "late", "early")
    with pytest.raises(ValueError, match="between two of its layers"):
        between(teacher, "early", "none")


@pytest.mark.parametrize("way", ["two", "one"])
def test_the_losses_are_those_of_the_formulas(way):
    student, teacher = network(1), network(2, 6)
    method = Interactive(width=5, way=way)
    terms, seen = terms_and_seen(method, student, teacher)
    assert [term.name for term in terms] == ["interact_loss", "message_loss", "state_loss"]
    assert terms[0].student_taps == ("early", "late")
    # Encoder and decoder of the student's lower and higher layer, then of the teacher's.
    pairs = [terms[0].trained[at : at + 2] for at in range(0, 8, 2)]
    (s_low, s_high), (t_low, t_high) = seen.student_taps, seen.teacher_taps

    def coded(pair, state):
        encoder, decoder = pair
        return np.float64(encoder(state)), np.float64(decoder(encoder(state)))

    def apart(one, other):
        return np.mean((np.float64(one) - np.float64(other)) ** 2, axis=(1, 2, 3))

    theirs = t_high
    if way == "two":
        theirs = between(teacher, "early", "late")(pairs[2][1](pairs[0][0](s_low)))
    answer = pairs[1][1](pairs[3][0](theirs))
    np.testing.assert_allclose(terms[0].loss(seen), apart(s_high, answer), rtol=1e-4)
    states = [s_low, s_high, t_low, t_high]
    messages, decoded = zip(*map(coded, pairs, states), strict=True)
    expected = apart(messages[0], messages[2]) + apart(messages[1], messages[3])
    np.testing.assert_allclose(terms[1].loss(seen), expected, rtol=1e-4)
    np.testing.assert_allclose(terms[2].loss(seen), sum(map(apart, states, decoded)), rtol=1e-4)


def test_all_are_zero_where_student_and_teacher_are_one_and_say_all():
    teacher = network(2, 4)
    terms, seen = terms_and_seen(Interactive(width=4), teacher, teacher)
    for module in terms[0].trained:
        kernel, bias = module.trainable_variables
        kernel.assign(np.eye(4).reshape(1, 1, 4, 4))
        bias.assign(np.zeros(4))
    for term in terms:
        np.testing.assert_allclose(term.loss(seen), 0, atol=1e-9)


# Quick for all methods together in test_every_method.py.
@pytest.mark.slow
def test_weights_zero_are_the_plain_training_and_it_goes_on_to_the_bit(tmp_path):
    teacher = network(2, 6)
    off = {"weight": 0.0, "message_weight": 0.0, "state_weight": 0.0}
    runs = [
        Training(methods, teacher=teacher, distils=True) for methods in ((), (Interactive(**off),))
    ]
    for run in runs:
        run.run()
    assert_same(*(run.weights() for run in runs))

    def make():
        return Training((Interactive(width=5, state_weight=1.0),), teacher=teacher)

    whole = make()
    logs = whole.run().logs
    assert logs[-1]["state_loss"] < logs[0]["state_loss"]
    assert_same(whole.weights(), resumed(make, tmp_path, 1).weights())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "`interactive.width`"),
        ({"way": "three"}, "`interactive.way`"),
        ({"state_weight": 0.0}, "messages would become constant"),
        ({"student_taps": ("a",), "teacher_taps": ("b",)}, "two layers each"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Interactive(**settings)


def test_layers_that_do_not_fit_are_refused():
    method = Interactive(student_taps=("early", "no"), teacher_taps=("early", "late"))
    with pytest.raises(ValueError, match=r"names of layers. Received: no"):
        Training((method,), teacher=network(2, 6))
