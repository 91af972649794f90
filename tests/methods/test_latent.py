import dataclasses

import numpy as np
import pytest
from export.in_process import files_run_here

import tfqkd
from methods.training_of import DISTILLATION, FITTING, Training, assert_same, data, network, resumed
from tfqkd.compat import keras
from tfqkd.core.schedules import Constant
from tfqkd.data.images import Split
from tfqkd.fronts.terms import Seen
from tfqkd.fronts.tfmot import front
from tfqkd.methods.hooks import terms_of
from tfqkd.methods.latent import Latent
from tfqkd.models import build

CNNS = {"student_taps": ("early", "late"), "teacher_taps": ("early", "late")}


def vit(depth, width, seed=1):
    keras.utils.set_random_seed(seed)
    return build(f"vit{depth}x{width}", (8, 8, 1), 3, mean=[120.0], std=[60.0])


def taps(model, names, images):
    tapped = keras.Model(model.input, [model.get_layer(name).output for name in names])
    return [np.float64(tap) for tap in tapped(images)]


def term_of(method, student, teacher):
    (term,) = terms_of([method], front, student, [teacher], lambda name, seed: None, lambda: None)
    return term


def seen(student, teacher, term, images):
    values = [
        tuple(np.float32(tap) for tap in taps(model, names, images))
        for model, names in ((student, term.student_taps), (teacher, term.teacher_taps))
    ]
    fields = dict.fromkeys(field.name for field in dataclasses.fields(Seen))
    return Seen(
        **fields | {"student_taps": values[0], "teacher_taps": values[1], "ops": front_ops()}
    )


def front_ops():
    from tfqkd.fronts.tfmot.ops import OPS

    return OPS


def test_every_second_block_of_the_teacher_is_followed():
    student, teacher = vit(1, 4), vit(2, 8)
    term = term_of(Latent(), student, teacher)
    scores = [f"block{{}}_head{head}_scores" for head in (1, 2)]
    assert term.student_taps == ("embedded", "block1_end", *(s.format(1) for s in scores))
    assert term.teacher_taps == ("embedded", "block2_end", *(s.format(2) for s in scores))
    # One linear layer for both pairs of states; the value is that of the formula.
    (linear,) = term.trained
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)
    states = taps(student, term.student_taps, images), taps(teacher, term.teacher_taps, images)
    (kernel,) = linear.get_weights()
    expected = 0.0
    for number, (one, other) in enumerate(zip(*states, strict=True)):
        adapted = one @ np.float64(kernel) if number < 2 else one
        expected = expected + np.mean((adapted - other) ** 2, axis=(1, 2))
    found = term.loss(seen(student, teacher, term, images))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="multiple of the student's"):
        term_of(Latent(), vit(2, 4), vit(3, 4))


def test_it_is_zero_where_the_student_is_the_teacher():
    student = vit(1, 4)
    term = term_of(Latent(), student, student)
    images = np.full((2, 8, 8, 1), 7, np.float32)
    np.testing.assert_array_equal(term.loss(seen(student, student, term, images)), [0, 0])


def test_networks_without_blocks_are_compared_at_the_ends_of_their_stages():
    term = term_of(Latent(), network(1), network(2, 6))
    assert term.student_taps == term.teacher_taps == ("early", "late")
    (linear,) = term.trained
    assert linear.count_params() == 4 * 6


# Quick for all methods together in test_every_method.py.
@pytest.mark.slow
def test_weight_zero_is_the_plain_training_bit_for_bit_and_it_goes_on_to_the_bit(tmp_path):
    teacher = network(2, 6)
    plain, off = (
        Training(methods, teacher=teacher, distils=True)
        for methods in ((), (Latent(weight=0.0, **CNNS),))
    )
    plain.run()
    off.run()
    assert_same(plain.weights(), off.weights())

    def make():
        return Training((Latent(falls=True),), teacher=teacher)

    whole = make()
    logs = whole.run().logs
    assert logs[-1]["latent_loss"] < logs[0]["latent_loss"]
    again = resumed(make, tmp_path, 1)
    assert_same(whole.weights(), again.weights())
    together = dataclasses.replace(FITTING, steps_per_execution=3)
    three = Training((Latent(falls=True),), teacher=teacher, fitting=together)
    three.run()
    for weight, same in zip(whole.weights(), three.weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-4, atol=1e-5)


def test_with_latent_losses_alone_no_label_is_read():
    """As in the stages before the last of progressive distillation."""
    alone = dataclasses.replace(DISTILLATION, coefficient=Constant(1.0), soft_loss="none")
    weights = []
    for labels in (np.zeros(24, np.int64), np.arange(24) % 3):
        split = Split(data().train.images, labels)
        training = Training((Latent(),), teacher=network(2, 6), distils=True, distillation=alone)
        training.trainer._data = dataclasses.replace(data(), train=split)
        training.run()
        weights.append(training.weights())
    assert_same(*weights)


@pytest.mark.slow
def test_a_ternary_vit_learns_from_taps_and_becomes_a_file_of_two_bits(tmp_path):
    teacher, student = vit(2, 8, seed=2), tfqkd.quantize_model(vit(1, 8))
    term = term_of(Latent(), student, teacher)
    distiller = tfqkd.tfmot.Distiller(student=student, teacher=teacher, terms=[term])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(0.02), loss)
    images = np.random.default_rng(0).uniform(0, 255, (24, 8, 8, 1)).astype(np.float32)
    logs = distiller.fit(images, data().train.labels, epochs=3, verbose=0, batch_size=8).history
    assert logs["latent_loss"][-1] < logs["latent_loss"][0]
    with files_run_here():
        (report,) = tfqkd.export.export(student, tmp_path, "litert-int2", images=images)
    # All but the first and the last layer: position, queries, keys, values, projection and units.
    assert {kernel.bits for kernel in report.quantized} == {2}
    assert len(report.quantized) == 10
    found = tfqkd.export.load(report.path)(images)
    np.testing.assert_allclose(found, student(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            Latent(student_taps=("early",), teacher_taps=("late",)),
            "same sizes but for their widths",
        ),
        (Latent(student_taps=("no",), teacher_taps=("late",)), "must be names of layers"),
        (Latent(student_scores=("early",), teacher_scores=("early",)), "and scores the same"),
    ],
)
def test_layers_that_do_not_fit_are_refused(method, message):
    with pytest.raises(ValueError, match=message):
        term_of(method, network(1), network(2, 6))


def test_taps_come_in_pairs():
    with pytest.raises(ValueError, match=r"`latent.student_scores` and"):
        Latent(student_scores=("a",))
