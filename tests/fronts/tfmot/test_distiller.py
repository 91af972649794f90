import functools
import os
import pathlib
import subprocess
import sys

import keras as keras3
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tfqkd.compat import keras, tf
from tfqkd.core.schedulers import CoefficientScheduler, TemperatureScheduler
from tfqkd.core.schedules import Linear
from tfqkd.core.teachers import LOGITS_IN_BATCH, Ensemble
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.fronts.tfmot.teachers import as_teacher

ROOT = pathlib.Path(__file__).resolve().parents[3]
layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
rng = np.random.default_rng(0)
X = rng.normal(size=(24, 5)).astype(np.float32)
Y = rng.integers(0, 4, 24)


def network(seed=0, width=8, norm=False, regularizer=None, classes=4):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(width, activation="tanh", kernel_regularizer=regularizer),
            *([layers.BatchNormalization()] if norm else []),
            layers.Dense(classes),
        ]
    )


def distiller(student=None, teacher=None, compile_arguments=None, **arguments):
    made = Distiller(
        student=student or network(), teacher=teacher or network(seed=1, width=16), **arguments
    )
    made.compile(keras.optimizers.SGD(0.1), LOSS, metrics=["accuracy"], **(compile_arguments or {}))
    return made


def cross_entropies(logits, teacher_logits, temperature):
    hard = -log_softmax(logits, axis=1)[np.arange(len(Y)), Y]
    target = softmax(teacher_logits / temperature, axis=1)
    soft = -(target * log_softmax(logits / temperature, axis=1)).sum(axis=1)
    return hard, soft


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_loss_is_the_formula(weighted, scaled):
    student, teacher = network(regularizer=keras.regularizers.L2(0.01)), network(seed=1, width=16)
    hard, soft = cross_entropies(student(X).numpy(), teacher(X).numpy(), 3.0)
    weights = rng.uniform(size=24) if weighted else np.ones(24)
    hard, soft = np.mean(weights * hard), np.mean(weights * soft) * (9.0 if scaled else 1.0)
    penalty = 0.01 * np.sum(student.layers[0].kernel.numpy() ** 2)
    made = distiller(
        student, teacher, temperature=3.0, coefficient=0.3, scale_by_temperature_squared=scaled
    )
    history = made.fit(
        X, Y, batch_size=24, sample_weight=weights if weighted else None, verbose=0
    ).history
    assert history["hard_loss"][0] == pytest.approx(hard, rel=1e-5)
    assert history["soft_loss"][0] == pytest.approx(soft, rel=1e-5)
    assert history["loss"][0] == pytest.approx(0.7 * hard + 0.3 * soft + penalty, rel=1e-5)
    assert set(history) == {
        *("loss", "hard_loss", "soft_loss", "agreement", "accuracy", "coefficient", "temperature")
    }


def test_class_weights_count_like_sample_weights():
    by_class, by_sample = distiller(), distiller()
    weights = {0: 0.5, 1: 2.0, 2: 1.0, 3: 0.0}
    first = by_class.fit(X, Y, batch_size=24, class_weight=weights, verbose=0).history
    sample_weight = np.array([weights[y] for y in Y], np.float32)
    second = by_sample.fit(X, Y, batch_size=24, sample_weight=sample_weight, verbose=0).history
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6)
    assert first["soft_loss"] == pytest.approx(second["soft_loss"], rel=1e-6)


def test_one_step_moves_the_logits_layer_by_the_closed_form_gradient():
    student, teacher = network(), network(seed=1, width=16)
    hidden = keras.Model(student.input, student.layers[0].output)(X).numpy()
    logits, target = student(X).numpy(), softmax(teacher(X).numpy() / 2, axis=1)
    onehot = np.eye(4)[Y]
    # d/dz of (1-λ)·CE + λ·T²·CE_T is (1-λ)(p - y) + λ·T·(p_T' - p_T), averaged over the batch.
    gradient = 0.6 * (softmax(logits, axis=1) - onehot) + 0.4 * 2 * (
        softmax(logits / 2, axis=1) - target
    )
    expected = student.layers[1].kernel.numpy() - 0.1 * hidden.T @ gradient / 24
    distiller(student, teacher, temperature=2.0, coefficient=0.4).fit(
        X, Y, batch_size=24, verbose=0
    )
    np.testing.assert_allclose(student.layers[1].kernel, expected, atol=1e-6)


def test_without_coefficient_it_trains_exactly_like_keras():
    plain, distilled = (network(norm=True, regularizer="l2") for _ in range(2))
    plain.compile(keras.optimizers.SGD(0.1), LOSS)
    plain.fit(X, Y, batch_size=10, epochs=3, shuffle=False, verbose=0)
    distiller(distilled, coefficient=0.0).fit(
        X, Y, batch_size=10, epochs=3, shuffle=False, verbose=0
    )
    for a, b in zip(plain.get_weights(), distilled.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_with_coefficient_one_the_labels_do_not_count():
    a, b = network(), network()
    distiller(a, coefficient=1.0).fit(X, Y, batch_size=24, epochs=2, verbose=0)
    distiller(b, coefficient=1.0).fit(X, (Y + 1) % 4, batch_size=24, epochs=2, verbose=0)
    for first, second in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-7)


def test_the_control_weighs_the_hard_loss_and_asks_no_teacher():
    made = distiller(teacher="never called", coefficient=0.25, soft_loss="none")
    history = made.fit(X, Y, batch_size=24, verbose=0).history
    assert history["loss"][0] == pytest.approx(0.75 * history["hard_loss"][0], rel=1e-6)
    # What was not measured is not logged.
    assert set(history) == {"loss", "hard_loss", "accuracy", "coefficient", "temperature"}


def test_the_teacher_is_frozen_and_no_part_of_the_distiller(tmp_path):
    student, teacher = network(), network(seed=1, width=16, norm=True)
    before = teacher.get_weights()
    made = distiller(student, teacher)
    made.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert teacher.trainable
    assert not {id(v) for v in teacher.weights} & {id(v) for v in made.weights}
    assert len(made.trainable_variables) == len(student.trainable_variables)
    saved = tf.train.list_variables(tf.train.Checkpoint(model=made).save(tmp_path / "checkpoint"))
    assert (16,) not in {tuple(shape) for _, shape in saved}


def test_evaluate_and_predict_are_the_students_and_change_nothing():
    student = network(norm=True, regularizer=keras.regularizers.L2(0.01))
    made = distiller(student)
    made.fit(X, Y, batch_size=24, verbose=0)
    variables = [*student.weights, made.coefficient, made.temperature, *made.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    results = made.evaluate(X, Y, batch_size=10, verbose=0, return_dict=True)
    np.testing.assert_array_equal(made.predict(X, verbose=0), student.predict(X, verbose=0))
    for a, variable in zip(before, variables, strict=True):
        np.testing.assert_array_equal(a, variable.numpy())
    logits = student(X).numpy()
    hard, _ = cross_entropies(logits, logits, 1.0)
    penalty = 0.01 * np.sum(student.layers[0].kernel.numpy() ** 2)
    assert results["loss"] == pytest.approx(hard.mean() + penalty, rel=1e-5)
    assert results["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == Y))
    assert set(results) == {"loss", "accuracy"}


def test_epoch_metrics_are_means_over_examples_also_with_an_uneven_last_batch():
    student, teacher = network(), network(seed=1, width=16)
    made = distiller(student, teacher, coefficient=0.5)
    made.optimizer.learning_rate = 0.0
    hard, soft = cross_entropies(student(X).numpy(), teacher(X).numpy(), 2.0)
    history = made.fit(X, Y, batch_size=10, verbose=0).history
    assert history["hard_loss"][0] == pytest.approx(hard.mean(), rel=1e-5)
    assert history["soft_loss"][0] == pytest.approx(4 * soft.mean(), rel=1e-5)
    same = student(X).numpy().argmax(1) == teacher(X).numpy().argmax(1)
    assert history["agreement"][0] == pytest.approx(same.mean(), rel=1e-6)


def test_the_first_step_is_traced_once():
    made = distiller()
    traced, step = [], made.train_step
    made.train_step = lambda data: traced.append(data) or step(data)
    made.fit(X, Y, batch_size=8, verbose=0)
    assert len(traced) == 1


def test_an_assigned_coefficient_takes_effect_without_tracing_again():
    made = distiller(coefficient=0.5)
    made.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    traces = made.train_tf_function.experimental_get_tracing_count()
    for value in (0.0, 1.0):
        made.coefficient.assign(value)
        history = made.fit(X, Y, batch_size=24, verbose=0).history
        history = made.fit(X, Y, batch_size=8, verbose=0).history
        chosen = history["soft_loss" if value else "hard_loss"][0]
        assert history["loss"][0] == pytest.approx(chosen, rel=1e-6)
    assert made.train_tf_function.experimental_get_tracing_count() <= traces + 1


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (CoefficientScheduler(Linear(1.5, 0.0)), r"coefficient must be in \[0, 1\].*Received: 1.5"),
        (CoefficientScheduler(lambda p: float("nan"), on="step"), "Received: nan"),
        (TemperatureScheduler(Linear(2.0, 0.0)), "temperature must be above 0.*Received: 0.0"),
    ],
)
def test_a_schedule_out_of_range_is_refused_before_the_first_step(callback, message):
    made = distiller()
    before = made.student.get_weights()
    with pytest.raises(ValueError, match=message):
        made.fit(X, Y, epochs=4, verbose=0, callbacks=[callback])
    for a, b in zip(before, made.student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_schedule_needs_a_distiller_and_a_callable():
    model = network()
    model.compile("sgd", LOSS)
    with pytest.raises(TypeError, match=r"needs a tfqkd\.Distiller"):
        model.fit(X, Y, verbose=0, callbacks=[CoefficientScheduler(Linear(1.0))])
    with pytest.raises(TypeError, match="must be a callable from progress"):
        CoefficientScheduler(0.5)
    with pytest.raises(ValueError, match="'epoch' or 'step'"):
        CoefficientScheduler(Linear(1.0), on="batch")


@pytest.mark.parametrize(
    ("policy", "scaled"),
    [
        ("mixed_float16", True),
        pytest.param("mixed_bfloat16", False, marks=pytest.mark.slow),
        pytest.param("float32", False, marks=pytest.mark.slow),
    ],
)
def test_a_quantized_student_trains_in_every_precision(policy, scaled):
    keras.mixed_precision.set_global_policy(policy)
    try:
        student = quantize_model(network(), layers=".*")
        made = distiller(
            student, network(seed=1, width=16), compile_arguments={"jit_compile": True}
        )
        losses = made.fit(X, Y, batch_size=8, epochs=15, verbose=0).history["loss"]
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert losses[-1] < losses[0]
    assert isinstance(made.optimizer, keras.mixed_precision.LossScaleOptimizer) == scaled
    for kernel in quantized_kernels(student):
        codes = kernel.value().numpy() / kernel.state["step"].numpy()
        assert set(np.unique(codes)) <= {-1.0, 0.0, 1.0}


class Saved(tf.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 5])])
    def serve(self, inputs):
        return {"logits": self.model(inputs)}


def test_teachers_of_every_kind_give_the_same_logits_inside_a_graph(tmp_path):
    teacher = network(seed=1, width=16)
    module = Saved(teacher)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    loaded = tf.saved_model.load(str(tmp_path))
    other = keras3.Sequential(
        [keras3.Input((5,)), keras3.layers.Dense(16, activation="tanh"), keras3.layers.Dense(4)]
    )
    other.set_weights(teacher.get_weights())
    teachers = [
        teacher,
        loaded,
        loaded.signatures["serving_default"],
        teacher.call,
        other,
        Ensemble([teacher, teacher.call]),
    ]
    hidden = np.tanh(X @ teacher.weights[0].numpy() + teacher.weights[1].numpy())
    expected = hidden @ teacher.weights[2].numpy() + teacher.weights[3].numpy()
    for each in teachers:
        logits = tf.function(as_teacher(each))(tf.constant(X))
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    for each in (loaded, other):
        history = distiller(teacher=each).fit(X, Y, batch_size=24, verbose=0).history
        _, soft = cross_entropies(network()(X).numpy(), expected, 2.0)
        assert history["soft_loss"][0] == pytest.approx(4 * soft.mean(), rel=1e-5)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4, activation="softmax")

    def call(self, inputs):
        return self.dense(inputs)


def a_saved_model_of_probabilities(directory):
    module = Saved(softmaxed())
    tf.saved_model.save(module, directory, signatures={"serving_default": module.serve})
    return tf.saved_model.load(directory)


def a_built_subclassed_model(_):
    model = Subclassed()
    model(X)
    return model


PROBABLE = {
    "function": lambda _: softmaxed().call,
    "SavedModel": a_saved_model_of_probabilities,
    "subclassed": a_built_subclassed_model,
    "in the batch": lambda _: LOGITS_IN_BATCH,
}


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        *((kind, {}) for kind in PROBABLE),
        ("function", {"jit_compile": True}),
        ("function", {"steps_per_execution": 3}),
    ],
)
def test_a_teacher_that_answers_in_probabilities_is_refused_after_the_first_step(
    kind, arguments, tmp_path
):
    made = distiller(teacher=PROBABLE[kind](str(tmp_path)), compile_arguments=arguments)
    x = (X, softmax(rng.normal(size=(24, 4)), axis=1)) if kind == "in the batch" else X
    batches = tf.data.Dataset.from_tensor_slices((x, Y)).batch(4)
    with pytest.raises(ValueError, match=r"must return logits.*Received: probabilities"):
        made.fit(batches, epochs=9, verbose=0)
    assert made.optimizer.iterations.numpy() == arguments.get("steps_per_execution", 1)


def test_log_probabilities_and_other_logits_of_a_function_pass():
    teacher = network(seed=1)
    for answers in (tf.math.log_softmax, tf.nn.relu, lambda logits: tf.nn.softmax(logits) * 3):
        made = distiller(teacher=lambda batch, answers=answers: answers(teacher(batch)))
        made.fit(X, Y, batch_size=24, epochs=2, verbose=0)
        assert made.optimizer.iterations.numpy() == 2


def test_an_ensemble_is_the_mean_of_the_logits_each_with_its_preprocessing():
    first, second = network(seed=1), network(seed=2)
    ensemble = Ensemble([first, lambda batch: second(batch / 2.0 - 1.0)])
    expected = (first(X).numpy() + second(X / 2 - 1).numpy()) / 2
    np.testing.assert_allclose(as_teacher(ensemble)(X), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="at least one teacher"):
        Ensemble([])


def softmaxed():
    return keras.Sequential([keras.Input((5,)), layers.Dense(4, activation="softmax", name="end")])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"student": softmaxed()}, ValueError, "student must end in logits.*'end' applies softmax"),
        ({"teacher": softmaxed()}, ValueError, "teacher must end in logits"),
        (
            {"teacher": keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.Softmax()])},
            ValueError,
            "teacher must end in logits",
        ),
        (
            {"teacher": network(classes=7)},
            ValueError,
            "same classes.*a student with 4 and a teacher with 7",
        ),
        ({"teacher": 5}, TypeError, "teacher must be a callable"),
        (
            {"student": keras3.Sequential([keras3.Input((5,)), keras3.layers.Dense(4)])},
            TypeError,
            "tf_keras model.*Keras 3",
        ),
        ({"temperature": 0.0}, ValueError, "`temperature` must be above 0"),
        ({"temperature": float("nan")}, ValueError, "`temperature` must be above 0"),
        ({"temperature": float("inf")}, ValueError, "`temperature` must be above 0 and finite"),
        ({"coefficient": float("nan")}, ValueError, r"`coefficient` must be in \[0, 1\]"),
        ({"coefficient": 1.1}, ValueError, r"`coefficient` must be in \[0, 1\]"),
        ({"soft_loss": "mse"}, ValueError, "`soft_loss` must be one of"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Distiller(**{"student": network(), "teacher": network(), **arguments})


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (keras.losses.SparseCategoricalCrossentropy(), "must take logits"),
        ("sparse_categorical_crossentropy", "must take logits"),
        ("SparseCategoricalCrossentropy", "must take logits"),
        (keras.losses.sparse_categorical_crossentropy, "must take logits"),
        (keras.losses.CategoricalCrossentropy(), "must take logits"),
        ([keras.losses.CategoricalCrossentropy()], "must take logits"),
        ({"logits": "categorical_crossentropy"}, "must take logits"),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
            "must average over the batch",
        ),
    ],
)
def test_a_loss_of_probabilities_or_a_sum_is_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        Distiller(student=network(), teacher=network()).compile("sgd", loss)


@pytest.mark.parametrize(
    "loss",
    [
        None,
        "mse",
        LOSS,
        [LOSS],
        functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True),
        tf.nn.sparse_softmax_cross_entropy_with_logits,
    ],
)
def test_other_losses_pass(loss):
    Distiller(student=network(), teacher=network()).compile("sgd", loss)


def test_a_teacher_function_with_other_classes_is_refused_when_it_is_traced():
    made = distiller(teacher=lambda batch: tf.zeros([tf.shape(batch)[0], 7]))
    with pytest.raises(ValueError, match="outputs of the same shape"):
        made.fit(X, Y, verbose=0)


MIRRORED = """
import numpy as np
from tfqkd.compat import keras, tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfqkd.core.losses import correlation_soft_loss
from tfqkd.core.schedulers import CoefficientScheduler
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.core.schedules import Linear
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.core.schemes import TernaryScheme

rng = np.random.default_rng(0)
x, y = rng.normal(size=(15, 5)).astype("float32"), rng.integers(0, 4, 15)

def network(seed, width):
    keras.utils.set_random_seed(seed)
    d = keras.layers.Dense
    regularizer = keras.regularizers.L2(1e-2)
    return keras.Sequential([keras.Input((5,)), d(width, "tanh", kernel_regularizer=regularizer), d(4)])

def train(strategy):
    with strategy.scope():
        student = quantize_model(network(0, 8), TernaryScheme("channel", "every_step"), layers=".*")
        made = Distiller(student=student, teacher=network(1, 16))
        made.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            ["accuracy"],
        )
        history = made.fit(x, y, batch_size=7, epochs=2, shuffle=False, verbose=0,
                           callbacks=[CoefficientScheduler(Linear(1.0, 0.0), on="step")])
    return made, history.history

# Of a batch of 7 one replica gets 4 and the other 3; of the last batch of 1 the second gets none.
one, expected = train(tf.distribute.OneDeviceStrategy("CPU:0"))
two, history = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for a, b in zip(one.student.weights, two.student.weights, strict=True):
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5, err_msg=a.name)
for variable in [*two.student.weights, two.coefficient, two.temperature]:
    first, second = (part.numpy() for part in variable.values)
    np.testing.assert_array_equal(first, second, err_msg=variable.name)
np.testing.assert_allclose(history["coefficient"], [0.6, 0.0], atol=1e-6)
for name, values in expected.items():
    np.testing.assert_allclose(history[name], values, atol=1e-5, err_msg=name)
print("equal on", two.distribute_strategy.num_replicas_in_sync, "replicas")

# Each replica correlates its own examples; of the last batch one has none.
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    made = Distiller(student=network(0, 8), teacher=network(1, 16), soft_loss="dist", coefficient=1.0)
    made.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    logits, answers = made.student(x).numpy(), network(1, 16)(x).numpy()
    logged = made.fit(x[:7], y[:7], batch_size=7, shuffle=False, verbose=0).history["soft_loss"]
    made.fit(x, y, batch_size=7, verbose=0)
shares = [slice(0, 4), slice(4, 7)]
each = [correlation_soft_loss(answers[share], logits[share], 2.0).sum() for share in shares]
np.testing.assert_allclose(logged, [sum(each) / 7], rtol=1e-4)
for variable in made.student.weights:
    first, second = (part.numpy() for part in variable.values)
    assert np.isfinite(first).all(), variable.name
    np.testing.assert_array_equal(first, second, err_msg=variable.name)
print("correlated on each")
"""


def test_two_replicas_train_like_one_device_and_stay_equal():
    result = subprocess.run(
        [sys.executable, "-c", MIRRORED],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "equal on 2 replicas" in result.stdout
    assert "correlated on each" in result.stdout
