"""The `Distiller`: its loss against NumPy, schedules, teachers, callbacks and errors."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.fronts.keras3.inside.nets import BACKEND, batch, cross_entropy, perceptron
from tfqkd.core import losses
from tfqkd.core.ops import NUMPY
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schedulers import CoefficientScheduler, TemperatureScheduler
from tfqkd.core.schedules import Linear
from tfqkd.core.schemes import TernaryScheme
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.fronts import keras3
from tfqkd.fronts.keras3 import Distiller, Ensemble, scheduled
from tfqkd.fronts.keras3.callbacks import followed


def linear(name="linear", classes=3, **options):
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(classes, name="logits", **options)(inputs), name=name)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def compiled(student, teacher, optimizer="sgd", loss=None, metrics=None, options=None, **settings):
    distiller = Distiller(student=student, teacher=teacher, **settings)
    distiller.compile(optimizer, loss or cross_entropy(), metrics, **(options or {}))
    return distiller


def trained(distiller, count=8, size=4, epochs=1, seed=0, **options):
    inputs, labels = batch(count, seed=seed)
    return distiller.fit(
        inputs, labels, batch_size=size, epochs=epochs, shuffle=False, verbose=0, **options
    ).history


@pytest.mark.parametrize("weights", [None, "sample", "class"])
def test_a_step_is_that_of_the_formula(weights):
    rate, share, temperature, factor = 0.1, 0.3, 2.0, 1.5
    keras.utils.set_random_seed(5)
    student, teacher = linear(kernel_regularizer=keras.regularizers.L2(0.1)), linear("teacher")
    inputs, labels = batch(8)
    kernel, bias = student.get_weights()
    logits, answers = inputs @ kernel + bias, inputs @ teacher.get_weights()[0]
    by_class = {0: 0.5, 1: 2.0, 2: 0.0}
    each = {
        None: np.ones(8),
        "sample": np.array([0, 1, 2, 0.5, 1, 0, 3, 1]),
        "class": np.array([by_class[label] for label in labels]),
    }[weights].astype("float32")

    one_hot = np.eye(3)[labels]
    hard = each * -np.log(softmax(logits)[np.arange(8), labels])
    softened = softmax(answers / temperature)
    soft = each * temperature**2 * -(softened * np.log(softmax(logits / temperature))).sum(axis=-1)
    by_logits = (1 - share) * (softmax(logits) - one_hot)
    by_logits += share * factor * temperature * (softmax(logits / temperature) - softened)
    by_logits *= each[:, None] / 8
    decay = 0.1 * np.square(kernel).sum()

    distiller = compiled(
        student,
        teacher,
        keras.optimizers.SGD(rate),
        temperature=temperature,
        coefficient=share,
        soft_weight=factor,
    )
    given = {"sample": {"sample_weight": each}, "class": {"class_weight": by_class}}
    logs = trained(distiller, 8, 8, **given.get(weights, {}))
    expected = kernel - rate * (inputs.T @ by_logits + 0.2 * kernel)
    np.testing.assert_allclose(student.get_weights()[0], expected, rtol=1e-4, atol=1e-5)
    blended = (1 - share) * hard.mean() + share * factor * soft.mean()
    np.testing.assert_allclose(logs["hard_loss"], [hard.mean()], rtol=1e-4)
    np.testing.assert_allclose(logs["soft_loss"], [soft.mean()], rtol=1e-4)
    np.testing.assert_allclose(logs["loss"], [blended + decay], rtol=1e-4)
    agreement = (logits.argmax(axis=-1) == answers.argmax(axis=-1)).mean()
    np.testing.assert_allclose(logs["agreement"], [agreement])
    assert logs["coefficient"] == pytest.approx([share])
    assert logs["temperature"] == pytest.approx([temperature])


@pytest.mark.slow
def test_the_hard_loss_is_computed_once():
    calls = []

    class Counting(keras.losses.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            calls.append(1)
            return super().call(y_true, y_pred)

    distiller = compiled(
        linear(), linear(), loss=Counting(from_logits=True), options={"run_eagerly": True}
    )
    trained(distiller, 8)
    built = len(calls)
    trained(distiller, 8)
    assert len(calls) - built == 2


@pytest.mark.parametrize("wrapped", [False, True])
def test_losses_of_layers_count_once(wrapped):
    class Penalty(layers.Dense):
        def call(self, inputs):
            self.add_loss(keras.ops.convert_to_tensor(7.0))
            return super().call(inputs)

    inputs, layer = keras.Input((6,)), Penalty(3)
    layer = keras3.QuantizedLayer(layer, UniformQuantizer(2)) if wrapped else layer
    student = keras.Model(inputs, layer(inputs))
    logs = trained(compiled(student, linear(), coefficient=0.0))
    assert logs["loss"][0] == pytest.approx(logs["hard_loss"][0] + 7.0, rel=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        "cross_entropy",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("kl", "standardized")),
        "dkd",
        "dist",
        pytest.param("cosine", marks=pytest.mark.slow),
    ],
)
def test_soft_losses_are_those_of_the_core(kind):
    student, teacher = linear(), linear("teacher")
    inputs, labels = batch(4)
    logits, answers = (inputs @ model.get_weights()[0] for model in (student, teacher))
    expected = {
        "cross_entropy": lambda: losses.soft_loss(answers, logits, 3.0, ops=NUMPY),
        "kl": lambda: losses.soft_loss(answers, logits, 3.0, "kl", ops=NUMPY),
        "standardized": lambda: losses.soft_loss(
            losses.standardized(answers, NUMPY),
            losses.standardized(logits, NUMPY),
            3.0,
            "kl",
            ops=NUMPY,
        ),
        "dkd": lambda: losses.decoupled_soft_loss(answers, logits, labels, 3.0, 4.0, ops=NUMPY),
        "dist": lambda: losses.correlation_soft_loss(answers, logits, 3.0, ops=NUMPY),
        "cosine": lambda: losses.cosine_soft_loss(answers, logits, 3.0, ops=NUMPY),
    }[kind]()
    distiller = compiled(student, teacher, temperature=3.0, soft_loss=kind, dkd_beta=4.0)
    logs = trained(distiller, 4)
    np.testing.assert_allclose(logs["soft_loss"], [expected.mean()], rtol=1e-4)


@pytest.mark.parametrize("task", ["sigmoid", "regression"])
def test_tasks_are_read_off_the_loss(task):
    student, teacher = linear(), linear("teacher")
    inputs, labels = batch(4)
    logits, answers = (inputs @ model.get_weights()[0] for model in (student, teacher))
    if task == "sigmoid":
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        soft = losses.sigmoid_soft_loss(answers, logits, 2.0, ops=NUMPY).mean()
        logged = {"loss", "hard_loss", "soft_loss", "agreement", "coefficient", "temperature"}
    else:
        loss, soft = "mse", np.square(answers - logits).mean()
        logged = {"loss", "hard_loss", "soft_loss", "coefficient"}
    distiller = compiled(student, teacher, loss=loss)
    targets = np.eye(3, dtype="float32")[labels]
    logs = distiller.fit(inputs, targets, batch_size=4, verbose=0).history
    np.testing.assert_allclose(logs["soft_loss"], [soft], rtol=1e-4)
    assert set(logs) == logged


def test_the_control_asks_no_teacher():
    def unasked(inputs):
        raise AssertionError("asked")

    logs = trained(compiled(linear(), unasked, soft_loss="none", coefficient=0.5))
    assert logs["loss"][0] == pytest.approx(0.5 * logs["hard_loss"][0], rel=1e-5)
    assert "soft_loss" not in logs and "agreement" not in logs


class Recorder(keras.callbacks.Callback):
    """The coefficient and temperature of every step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((float(logs["coefficient"]), float(logs["temperature"])))


class Extremes(keras.metrics.Metric):
    """The lowest and the highest output of the last batch: no scalar."""

    def __init__(self):
        super().__init__(name="extremes")
        self.seen = self.add_variable((2,), "zeros", name="seen")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.assign(keras.ops.stack([keras.ops.min(y_pred), keras.ops.max(y_pred)]))

    def result(self):
        return self.seen.value


class LastLogs(keras.callbacks.Callback):
    """The logs of the last step."""

    def on_train_batch_end(self, batch, logs=None):
        self.logs = logs


def test_a_step_logs_the_means_of_its_epoch_so_far():
    distiller, last = (
        compiled(linear(), linear("teacher"), metrics=["accuracy", Extremes()]),
        LastLogs(),
    )
    history = trained(distiller, 8, callbacks=[last])
    assert set(last.logs) == set(history)
    extremes = [np.asarray(each.pop("extremes")).reshape(2) for each in (last.logs, history)]
    np.testing.assert_array_equal(*extremes)
    assert all(isinstance(value, float) for value in last.logs.values())
    for name, (mean,) in history.items():
        assert last.logs[name] == pytest.approx(mean, rel=1e-6), name


@pytest.mark.skipif(BACKEND != "jax", reason="Elsewhere an array costs the host nothing.")
def test_a_step_returns_its_logs_as_one_array():
    import jax

    distiller, returned = compiled(linear(), linear("teacher"), metrics=["accuracy"]), []
    trained(distiller)
    step = distiller.train_function

    def spied(*arguments):
        returned.append(step(*arguments))
        return returned[-1]

    distiller.train_function = spied
    trained(distiller)
    logs, _ = returned[0]
    assert [leaf.shape for leaf in jax.tree.leaves(logs)] == [(7,)]


def test_keras_waits_for_no_step_to_call_what_every_fit_has():
    default = keras.callbacks.Callback.on_train_batch_end
    made = followed(CoefficientScheduler(Linear(1.0, 0.0)), lambda: None, [])
    assert all(type(each).on_train_batch_end is default for each in made)


class Counted:
    """A teacher that counts how often a step is traced."""

    def __init__(self, model):
        self.model = model
        self.traces = 0

    def __call__(self, inputs):
        self.traces += 1
        return self.model(inputs, training=False)


def test_schedules_by_step_and_by_epoch_trace_nothing_anew():
    teacher, recorder = Counted(linear("teacher")), Recorder()
    distiller = compiled(linear(), teacher)
    trained(distiller)
    traces = teacher.traces
    schedulers = [
        CoefficientScheduler(Linear(1.0, 0.0), on="step"),
        TemperatureScheduler(Linear(4, 1)),
    ]
    logs = trained(distiller, 16, epochs=2, callbacks=[*schedulers, recorder])
    expected = [(1 - step / 7, 4.0 if step < 4 else 1.0) for step in range(8)]
    np.testing.assert_allclose(recorder.seen, expected, atol=1e-6)
    # A fit with another number of steps, and one that goes on at a later epoch.
    trained(distiller, 8, epochs=3, callbacks=schedulers)
    again = Recorder()
    options = {"callbacks": [schedulers[0], again], "initial_epoch": 1}
    trained(distiller, 16, epochs=2, **options)
    np.testing.assert_allclose(
        [seen[0] for seen in again.seen], [1 - step / 7 for step in range(4, 8)], atol=1e-6
    )
    assert teacher.traces == traces or BACKEND == "torch"  # Which traces nothing.
    assert logs["coefficient"] == pytest.approx([1 - 3 / 7, 0.0], abs=1e-6)
    # The last value stays, until it is assigned.
    assert trained(distiller)["coefficient"] == [0.0]
    distiller.coefficient.assign(0.25)
    assert trained(distiller)["coefficient"] == [0.25]
    assert teacher.traces == traces or BACKEND == "torch"


def test_steps_of_one_execution_have_their_own_coefficients():
    if BACKEND == "torch":
        pytest.skip("Keras refuses steps_per_execution on PyTorch.")
    values = {}
    for steps in (1, 4):
        keras.utils.set_random_seed(2)
        student = linear()
        distiller = compiled(
            student, linear("teacher"), options={"steps_per_execution": steps}, temperature=4.0
        )
        trained(distiller, 32, callbacks=[CoefficientScheduler(Linear(1.0, 0.0), on="step")])
        values[steps] = student.get_weights()[0]
    np.testing.assert_allclose(values[1], values[4], rtol=1e-5, atol=1e-6)


def test_a_schedule_may_be_longer_than_its_table(monkeypatch):
    monkeypatch.setattr(scheduled, "CAPACITY", 4)
    recorder = Recorder()
    distiller = compiled(linear(), linear("teacher"))
    schedulers = [CoefficientScheduler(Linear(1.0, 0.0), on="step")]
    trained(distiller, 8, epochs=2, callbacks=schedulers)
    trained(distiller, 24, epochs=2, callbacks=[*schedulers, recorder])
    np.testing.assert_allclose([c for c, _ in recorder.seen], np.linspace(1, 0, 12), atol=1e-6)


def test_a_callback_assigns_inside_an_epoch():
    distiller, recorder = compiled(linear(), linear("teacher")), Recorder()

    class Assigning(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                distiller.coefficient.assign(0.125)  # Not through `self.model`.

    trained(distiller, 16, callbacks=[Assigning(), recorder])
    assert [c for c, _ in recorder.seen] == [0.5, 0.5, 0.125, 0.125]


def test_values_out_of_range_are_refused_before_the_first_step():
    distiller = compiled(linear(), linear("teacher"))
    with pytest.raises(ValueError, match="coefficient must be in"):
        trained(distiller, callbacks=[CoefficientScheduler(Linear(2.0, 0.0))])


TEACHERS = {
    "model": lambda model: model,
    "function": lambda model: lambda inputs: model(inputs * 1.0, training=False),
    "partial": lambda model: functools.partial(lambda scale, x: scale * model(x), 1.0),
    "ensemble": lambda model: Ensemble([model, lambda inputs: 1.0 * model(inputs)]),
    "object": Counted,
}


@pytest.mark.parametrize("kind", TEACHERS)
def test_a_teacher_is_an_argument_of_the_step_and_in_no_file(kind, tmp_path):
    student, model = linear(), linear("teacher")
    distiller = compiled(student, TEACHERS[kind](model), keras.optimizers.SGD(0.0), coefficient=1.0)
    first = trained(distiller)["soft_loss"]
    before = model.get_weights()
    model.set_weights([5.0 * weight for weight in before])
    # As a constant of the compiled step it would answer as before.
    assert abs(trained(distiller)["soft_loss"][0] - first[0]) > 1e-3
    assert {v.path for v in distiller.weights} == {v.path for v in student.weights}
    for kept, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(5.0 * kept, now)
    assert model.trainable
    distiller.save_weights(tmp_path / "distiller.weights.h5")
    assert b"teacher" not in (tmp_path / "distiller.weights.h5").read_bytes()


def test_a_float32_teacher_teaches_a_float16_student():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        student = linear()
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = compiled(student, linear("teacher"))
    assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    logs = trained(distiller, epochs=2)
    assert np.isfinite(logs["loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_compiled_step_trains_as_another(policy):
    """By XLA on TensorFlow and JAX, by torch.compile on PyTorch."""
    trainings = {}
    for compiles in (False, True):
        keras.utils.set_random_seed(9)
        keras.config.set_dtype_policy(policy)
        try:
            student = keras3.quantize_model(perceptron(), TernaryScheme(step_update="every_step"))
        finally:
            keras.config.set_dtype_policy("float32")
        optimizer = keras.optimizers.SGD(0.05)
        made = compiled(student, linear("teacher"), optimizer, options={"jit_compile": compiles})
        logs = trained(made, 16, callbacks=[CoefficientScheduler(Linear(1.0, 0.0), on="step")])
        trainings[compiles] = student.get_weights(), logs
    tolerance = {"float32": 1e-4, "mixed_bfloat16": 0.05, "mixed_float16": 0.01}[policy]
    (weights, logs), (others, other_logs) = trainings.values()
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    for name, values in logs.items():
        assert other_logs[name] == pytest.approx(values, rel=10 * tolerance, abs=tolerance), name


def test_logits_may_come_with_the_batch():
    student, teacher = linear(), linear("teacher")
    inputs, labels = batch(8)
    answers = teacher.predict(inputs, verbose=0)
    distiller = compiled(student, LOGITS_IN_BATCH, metrics=["accuracy"])
    start = student.get_weights()
    logs = distiller.fit((inputs, answers), labels, batch_size=8, verbose=0).history
    student.set_weights(start)
    asked = trained(compiled(student, teacher, metrics=["accuracy"]), 8, 8)
    assert logs["loss"] == pytest.approx(asked["loss"], rel=1e-5)
    assert distiller.evaluate(inputs, labels, verbose=0, return_dict=True).keys() == {
        "loss",
        "accuracy",
    }


def test_validation_and_evaluate_are_the_students():
    student = perceptron(regularizer="l2", batch_norm=False)
    distiller = compiled(student, linear("teacher"), metrics=["accuracy"])
    inputs, labels = batch(8)
    logs = trained(distiller, validation_data=(inputs, labels), epochs=2)
    common = {"loss", "accuracy"}
    training = {"hard_loss", "soft_loss", "agreement", "coefficient", "temperature"}
    assert set(logs) == common | training | {f"val_{name}" for name in common}
    student.compile("sgd", cross_entropy(), metrics=["accuracy"])
    expected = student.evaluate(inputs, labels, verbose=0)
    np.testing.assert_allclose(distiller.evaluate(inputs, labels, verbose=0), expected, rtol=1e-5)
    assert [logs["val_loss"][-1], logs["val_accuracy"][-1]] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        distiller.predict(inputs, verbose=0), student.predict(inputs, verbose=0), rtol=1e-6
    )


class StoppedError(Exception):
    """Ends a training from within."""


class StopAt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise StoppedError


def test_an_interrupted_training_goes_on_where_it_was(tmp_path):
    def begin():
        keras.utils.set_random_seed(7)
        student = keras3.quantize_model(perceptron())
        teacher = linear("teacher")
        distiller = compiled(student, teacher, keras.optimizers.SGD(0.05, momentum=0.9))
        return student, distiller, [CoefficientScheduler(Linear(1.0, 0.0), on="step")]

    whole, distiller, callbacks = begin()
    expected = trained(distiller, 16, epochs=3, callbacks=callbacks)
    _, distiller, callbacks = begin()
    backup = [keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    with pytest.raises(StoppedError):
        trained(distiller, 16, epochs=3, callbacks=[*callbacks, *backup, StopAt(2)])
    resumed, distiller, callbacks = begin()
    resumed.set_weights([0 * weight for weight in resumed.get_weights()])
    backup = [keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    logs = trained(distiller, 16, epochs=3, callbacks=[*callbacks, *backup])
    assert logs["loss"] == pytest.approx(expected["loss"][2:], rel=1e-5)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_checkpoints_hold_weights_and_files_are_refused(tmp_path):
    student = linear()
    distiller = compiled(student, linear("teacher"))
    path = tmp_path / "student.weights.h5"
    trained(distiller, callbacks=[keras.callbacks.ModelCheckpoint(path, save_weights_only=True)])
    kept = student.get_weights()
    trained(distiller)
    distiller.load_weights(path)
    np.testing.assert_array_equal(student.get_weights()[0], kept[0])
    with pytest.raises(ValueError, match="A Distiller cannot be saved"):
        distiller.save(tmp_path / "distiller.keras")


def test_xla_is_not_the_default_on_a_cpu():
    distiller = compiled(linear(), linear("teacher"))
    assert distiller.jit_compile is (BACKEND == "jax")


ENDED = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax", name="last")])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be above 0"),
        ({"coefficient": 1.5}, r"`coefficient` must be in \[0, 1\]"),
        ({"soft_loss": "mean"}, "`soft_loss` must be one of"),
        ({"soft_weight": -1.0}, "`soft_weight` must be 0 or more"),
        ({"task": "ranking"}, "`task` must be one of"),
        ({"teacher": ENDED}, "teacher must end in logits.*'last' applies softmax"),
        ({"student": ENDED}, "student must end in logits"),
        ({"teacher": keras.Sequential([layers.Dense(3)])}, "teacher must be built"),
    ],
)
def test_settings_are_looked_at_first(settings, message):
    with pytest.raises(ValueError, match=message):
        Distiller(**{"student": linear(), "teacher": linear("teacher"), **settings})


def test_kinds_of_student_and_teacher_are_looked_at():
    with pytest.raises(TypeError, match="student must be a Keras 3 model"):
        Distiller(student=lambda inputs: inputs, teacher=linear())
    with pytest.raises(TypeError, match="teacher must be a callable"):
        Distiller(student=linear(), teacher=3)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "must be compiled with a hard loss"),
        ("sparse_categorical_crossentropy", "must take logits"),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
            "must average over the batch",
        ),
        (lambda labels, outputs: outputs, "must tell what the student's outputs are"),
        ([cross_entropy()] * 2, r"one hard loss\. Received: 2 losses"),
    ],
)
def test_the_loss_is_looked_at_when_compiled(loss, message):
    distiller = Distiller(student=linear(), teacher=linear("teacher"))
    with pytest.raises(ValueError, match=message):
        distiller.compile("sgd", loss)


def test_a_teacher_of_other_classes_is_refused():
    teacher = linear("teacher", classes=4)
    distiller = compiled(linear(), lambda inputs: 1.0 * teacher(inputs))
    with pytest.raises(ValueError, match="outputs of the same shape"):
        trained(distiller)
