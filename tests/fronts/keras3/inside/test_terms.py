"""Methods that add terms: their losses against NumPy, what trains beside, resumption, files and errors."""

import contextlib
import dataclasses
import functools

import keras
import numpy as np
import pytest

from tests.fronts.keras3.inside.nets import BACKEND, array, batch, cross_entropy, same_weights
from tests.fronts.keras3.inside.test_training import two_devices
from tfqkd import fronts
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.ops import NUMPY
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schedules import Linear
from tfqkd.core.schemes import Scheme
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.keras3 import Distiller, quantize_model
from tfqkd.fronts.keras3.taps import Tapped, between, layers_of
from tfqkd.fronts.settings import Fitting
from tfqkd.fronts.terms import Term
from tfqkd.fronts.trainer import Position, Watcher
from tfqkd.methods import NAMES, find
from tfqkd.methods.attention import Attention, attention_loss
from tfqkd.methods.fsp import Fsp
from tfqkd.methods.hints import Hints
from tfqkd.methods.hooks import Hooks, terms_of
from tfqkd.methods.interactive import Interactive
from tfqkd.methods.latent import Latent
from tfqkd.methods.mutual import Mutual
from tfqkd.methods.past_self import PastSelf
from tfqkd.methods.rkd import Rkd
from tfqkd.methods.speq import Speq

FRONT = fronts.choose("keras3")
START = Position(0, 0)
ATTENTION = Attention(weight=3.0, student_taps=("late",), teacher_taps=("late",))
HINTS = Hints(weight=2.0, falls=False, student_tap="late", teacher_tap="late")
FITTING = Fitting(
    title="a student",
    epochs=3,
    steps=3,
    batch_size=8,
    seed=5,
    augmentation=Augmentation(1, flip=True),
    fixed_views=0,
    learning_rate=0.05,
    learning_rate_schedule="cosine",
    learning_rate_factor=0.1,
    milestones=(),
    warmup_epochs=0.0,
    momentum=0.9,
    weight_decay=1e-3,
    label_smoothing=0.0,
    synchronized_batch_norm=False,
    jit_compile=False,
    steps_per_execution=1,
)
METHODS = (
    ATTENTION,
    dataclasses.replace(HINTS, weight="balanced:0.3"),
    Mutual(weight=0.5),
    PastSelf(weight=0.5),
    Rkd(weight="balanced:0.5"),
    Fsp(weight=3.0),
    Latent(weight=0.5, student_taps=("late",), teacher_taps=("late",)),
    Speq(weight=0.5),
    # Its state loss reaches no student, and the message loss has a weight of its own.
    Interactive(weight=0.1, message_weight=0.0),
)
"""All that add terms: they go together."""
SCHEME = Scheme(UniformQuantizer(2), LsqActivationQuantizer(2))
STILL = dataclasses.replace(
    FITTING, epochs=1, steps=1, batch_size=24, learning_rate=0.0, augmentation=Augmentation.NONE
)
SCANS = ["off", *([pytest.param("on", marks=pytest.mark.slow)] if BACKEND == "jax" else [])]


@functools.cache
def data():
    random = np.random.default_rng(3)
    split = Split(random.integers(0, 255, (24, 6, 6, 1), dtype=np.uint8), np.arange(24) % 3)
    return ImageData("noise", tuple("abc"), split, None, split)


def network(seed, filters=4):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = keras.Input((6, 6, 1))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(filters, 3, padding="same", name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="early")(x)
    x = layers.Conv2D(filters, 3, strides=2, padding="same", name="second")(x)
    x = layers.ReLU(name="late")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name=f"net{filters}")


class Noted(Watcher):
    """Notes the logs of every epoch, and calls `look` with the number of the epoch."""

    def __init__(self, look):
        self.logs, self._look = [], look

    def on_epoch_end(self, epoch, logs):
        self.logs.append({name: float(value) for name, value in logs.items()})
        self._look(epoch)


class Training:
    """A student under methods, or under none, as a stage makes it."""

    def __init__(self, *methods, fitting=FITTING):
        self.student = quantize_model(network(1), SCHEME, "second")
        self.teacher = network(9, filters=4 if Fsp in map(type, methods) else 7)
        teachers = [self.teacher]
        twin = lambda: quantize_model(network(2), SCHEME, "second")  # noqa: E731
        terms = terms_of(
            methods, FRONT, self.student, teachers, lambda _, seed: network(seed), twin
        )
        self.network = FRONT.taught(self.student, [self.teacher], False, None, terms)
        self.trainer = FRONT.trainer(self.network, fitting, data())
        self.hooks = Hooks(methods, self.trainer.view)

    def run(self, start=START, look=lambda epoch: None):
        """Trains to the end, and returns the logs of the epochs."""
        noted = Noted(look)
        self.trainer.fit(start, (), [self.hooks, noted])
        return noted.logs

    def weights(self):
        return [each for one in (self.student, *self.network.beside) for each in one.get_weights()]


def test_all_that_the_front_can_do_are_here():
    needs = {name: find(name).needs for name in NAMES}
    able = [name for name in needs if needs[name] <= FRONT.CAPABILITIES.methods]
    assert {name for name in able if "terms" in needs[name]} == {each.name for each in METHODS}


def tap(model, training, name="late"):
    """What a layer puts out for all images; batch norm in training takes the batch's moments."""
    part = keras.Model(model.inputs, model.get_layer(name).output)
    before = part.get_weights()
    found = array(part(data().train.images.astype("float32"), training=training))
    part.set_weights(before)
    return found.astype("float64")


@pytest.mark.slow
def test_attention_reads_the_layers_that_it_names():
    training = Training(dataclasses.replace(ATTENTION, falls=False), fitting=STILL)
    maps = tap(training.student, training=True), tap(training.teacher, training=False)
    expected = np.mean(attention_loss(*maps, form="squares", ops=NUMPY))
    (logs,) = training.run()
    assert logs["attention_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["hard_loss"] + 3 * expected, rel=1e-5)


def test_hints_adapt_the_map_of_the_student():
    training = Training(HINTS, fitting=STILL)
    (adapter,) = training.network.beside
    maps = tap(training.student, training=True) @ np.float64(array(adapter.layers[1].kernel))[0, 0]
    normed = (maps - maps.mean((0, 1, 2))) / np.sqrt(maps.var((0, 1, 2)) + 1e-3)
    taught = tap(training.teacher, training=False)
    expected = np.mean((np.maximum(normed, 0) - taught) ** 2)
    (logs,) = training.run()
    assert logs["hint_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["hard_loss"] + 2 * expected, rel=1e-5)


def linear(name):
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(inputs), name=name)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Shown:
    """What `Mutual` asks of a network."""

    peer: keras.Model

    def build(self, name, seed):
        return self.peer


def mutual(begin, weight=0.7, temperature=2.0, epochs=1):
    """A step of two linear networks; their weights before and behind it, and the logs."""
    with begin():
        keras.utils.set_random_seed(4)
        student, peer = linear("student"), linear("peer")
        terms = Mutual(weight=weight, temperature=temperature).terms(Shown(peer), [])
        distiller = Distiller(
            student=student, teacher=None, coefficient=0.0, soft_loss="none", terms=terms
        )
        distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    before = [each.get_weights() for each in (student, peer)]
    options = {"batch_size": 16, "epochs": epochs, "shuffle": False, "verbose": 0}
    logs = distiller.fit(*batch(16), **options).history
    return before, [each.get_weights() for each in (student, peer)], logs


def test_student_and_peer_learn_from_labels_and_each_other():
    temperature, weight, rate = 2.0, 0.7, 0.1
    (student, peer), behind, logs = mutual(contextlib.nullcontext)
    inputs, labels = batch(16)
    logits = [inputs @ kernel + bias for kernel, bias in (student, peer)]
    soft = [softmax(each / temperature) for each in logits]
    divergences = []
    for one, other, factor in ((0, 1, weight), (1, 0, 1.0)):
        by_logits = softmax(logits[one]) - np.eye(3)[labels]
        by_logits += factor * temperature * (soft[one] - soft[other])
        kernel, bias = (student, peer)[one]
        expected = kernel - rate * inputs.T @ by_logits / 16, bias - rate * by_logits.mean(axis=0)
        for found, wanted in zip(behind[one], expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
        ratio = np.log(soft[other] / soft[one])
        divergences.append(temperature**2 * np.mean(np.sum(soft[other] * ratio, axis=-1)))
    assert logs["mutual_loss"] == pytest.approx([divergences[0]], rel=1e-4)
    hard = -np.log(softmax(logits[1])[np.arange(16), labels]).mean()
    assert logs["peer_loss"] == pytest.approx([hard + divergences[1]], rel=1e-4)
    total = logs["hard_loss"][0] + weight * divergences[0] + hard + divergences[1]
    assert logs["loss"] == pytest.approx([total], rel=1e-4)


def test_two_devices_train_student_and_peer_as_one():
    _, one, logs = mutual(contextlib.nullcontext, epochs=2)
    with two_devices() as begin:
        _, both, both_logs = mutual(begin, epochs=2)
    for weights, others in zip(one, both, strict=True):
        for weight, other in zip(weights, others, strict=True):
            np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-5)
    for name, values in logs.items():
        np.testing.assert_allclose(values, both_logs[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("scan", SCANS)
def test_a_weight_follows_its_schedule(scan):
    logs = Training(ATTENTION, fitting=dataclasses.replace(FITTING, scan=scan)).run()
    rest = [(each["loss"] - each["hard_loss"]) / each["attention_loss"] for each in logs]
    np.testing.assert_allclose(rest, [3.0, 1.5, 0.0], atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("scan", SCANS)
def test_without_weight_it_is_the_plain_run_to_the_bit(scan):
    fitting = dataclasses.replace(FITTING, scan=scan)
    weightless = [dataclasses.replace(method, weight=0.0) for method in METHODS]
    plain, nothing = Training(fitting=fitting), Training(*weightless, fitting=fitting)
    plain.run()
    nothing.run()
    same_weights(plain.student, nothing.student)


@pytest.mark.slow
@pytest.mark.parametrize("scan", SCANS)
def test_all_of_them_go_on_to_the_bit(tmp_path, scan):
    fitting = dataclasses.replace(FITTING, scan=scan)
    FRONT.start(1, "float32")
    whole = Training(*METHODS, fitting=fitting)
    # As a stage does: the variables have the same names then.
    FRONT.start(1, "float32")
    again = Training(*METHODS, fitting=fitting)
    first = whole.weights()
    whole.run(look=lambda epoch: epoch or whole.trainer.write_state(tmp_path))
    again.trainer.read_state(tmp_path)
    again.run(Position(1, 0))
    moved = [np.any(one != other) for one, other in zip(first, whole.weights(), strict=True)]
    assert sum(moved) > len(whole.student.trainable_variables)
    for weight, same in zip(whole.weights(), again.weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
    found, kept = (each.network.balances.weights for each in (whole, again))
    assert list(found) == ["hint_loss", "rkd_loss"]
    assert all(float(kept[name]) == float(found[name]) > 0 for name in found)


def test_what_trains_beside_is_in_the_checkpoint_and_in_no_file(tmp_path):
    training = Training(HINTS, fitting=dataclasses.replace(FITTING, epochs=1))
    (adapter,) = training.network.beside
    beside = {variable.path for variable in adapter.variables}
    assert beside <= {variable.path for variable in training.network.weights}
    assert not beside & {variable.path for variable in training.student.weights}
    assert [each.name for each in training.trainer.view.peers]
    training.student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert len(loaded.weights) == len(training.student.weights)


def test_layers_are_known_by_the_names_of_the_user():
    training = Training(Attention())
    names = ["rescaling", "first", "norm", "early", "second", "late", "pool", "logits"]
    found = {layer.name: layer for layer in layers_of(training.student)}
    assert [name.rstrip("_0123456789") for name in found] == names
    assert (found["second"].kind, found["second"].output_shape) == ("Conv2D", (3, 3, 4))
    (term,) = Attention().terms(
        *[FRONT.network(training.student, None), [FRONT.network(training.teacher, None)]]
    )
    assert term.student_taps == term.teacher_taps == ("early", "late")


@pytest.mark.parametrize("kind", ["functional", "sequential", "shared"])
def test_taps_change_no_outputs(kind):
    model = network(1)
    if kind == "sequential":
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="late")])
    if kind == "shared":
        inputs, late = keras.Input((3,)), keras.layers.Dense(3, name="late")
        model = keras.Model(inputs, late(late(inputs)) + 1.0)
    images, _ = batch(4, model.input_shape[1:])
    outputs, taps = Tapped(model, [("late",), ("late",)], "student")(images, training=False)
    np.testing.assert_array_equal(array(outputs), array(model(images, training=False)))
    assert len(taps) == 1
    if kind == "shared":
        # The second call counts.
        np.testing.assert_allclose(array(outputs), array(taps[0]) + 1.0, rtol=1e-6)


def test_a_part_of_the_teacher_is_the_teacher():
    teacher = network(2, 6)
    images = data().train.images[:3].astype("float32")
    outputs, (low, high) = Tapped(teacher, [("early", "late")], "teacher")(images, training=False)
    part = between(teacher, "early", "late")
    np.testing.assert_allclose(array(part(low)), array(high), rtol=1e-6)
    assert {id(each) for each in part.weights} <= {id(each) for each in teacher.weights}
    np.testing.assert_array_equal(array(teacher(images, training=False)), array(outputs))
    with pytest.raises(ValueError, match="reads more than the output of late"):
        between(teacher, "late", "early")
    with pytest.raises(ValueError, match="between two of its layers"):
        between(teacher, "early", "none")


@pytest.mark.parametrize("way", ["two", "one"])
def test_the_student_hears_the_teachers_answer(way):
    """By what the modules say of the taps of one step."""
    method = Interactive(weight=0.5, width=5, way=way, falls=False)
    training = Training(method, fitting=STILL)
    low, high, their_low, their_high = (
        [training.network.beside[at] for at in (first, first + 1)] for first in range(0, 8, 2)
    )
    mine = tap(training.student, training=True, name="early"), tap(training.student, training=True)
    theirs = tap(training.teacher, training=False)
    if way == "two":
        heard = their_low[1](low[0](mine[0].astype("float32")))
        theirs = array(between(training.teacher, "early", "late")(heard))
    answer = array(high[1](their_high[0](theirs.astype("float32"))))
    (logs,) = training.run()
    assert logs["interact_loss"] == pytest.approx(np.mean((mine[1] - answer) ** 2), rel=1e-4)


def test_what_has_no_such_layers_is_refused():
    with pytest.raises(ValueError, match=r"Taps of the student .* Received: absent.*It has .*late"):
        Training(Attention(student_taps=("absent",), teacher_taps=("late",)))
    with pytest.raises(ValueError, match="Taps of the teacher"):
        Training(Attention(student_taps=("late",), teacher_taps=("absent",)))
    term = Term("hint", lambda seen: seen.ops.mean(seen.teacher_taps[0]), teacher_taps=("late",))
    with pytest.raises(ValueError, match="layers of the teacher, it must be a Functional"):
        Distiller(student=network(1), teacher=lambda x: x, terms=[term])
    with pytest.raises(ValueError, match="Terms must have different names"):
        Distiller(student=network(1), teacher=network(2), terms=[term, term])


def test_a_term_may_be_weighed_by_a_schedule_beside_the_soft_loss():
    student, teacher = linear("student"), linear("teacher")
    term = Term("gap", lambda seen: (seen.student - seen.teacher) ** 2, 2.0, Linear(1.0, 0.0))
    distiller = Distiller(student=student, teacher=teacher, coefficient=0.5, terms=[term])
    distiller.compile(keras.optimizers.SGD(0.0), cross_entropy())
    inputs, labels = batch(8)
    logs = distiller.fit(inputs, labels, batch_size=8, epochs=3, verbose=0).history
    gap = np.mean((array(student(inputs)) - array(teacher(inputs))) ** 2)
    np.testing.assert_allclose(logs["gap"], [gap] * 3, rtol=1e-4)
    rest = np.array(logs["loss"]) - 0.5 * (np.array(logs["hard_loss"]) + logs["soft_loss"])
    np.testing.assert_allclose(rest, [2 * gap, gap, 0.0], rtol=1e-4, atol=1e-5)


def test_regularisers_of_what_trains_beside_count_in_training_alone():
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))(inputs)
    adapter = keras.Model(inputs, outputs)
    term = Term("gap", lambda seen: 0.0 * adapter(seen.student), trained=(adapter,))
    distiller = Distiller(
        student=linear("student"), teacher=None, coefficient=0.0, soft_loss="none", terms=[term]
    )
    distiller.compile(keras.optimizers.SGD(0.0), cross_entropy())
    penalty = 0.5 * np.sum(array(adapter.weights[0].value) ** 2)
    logs = distiller.fit(*batch(8), batch_size=8, verbose=0, validation_data=batch(8)).history
    assert logs["loss"] == pytest.approx([logs["hard_loss"][0] + penalty], rel=1e-5)
    assert logs["val_loss"] == pytest.approx(logs["hard_loss"], rel=1e-5)
