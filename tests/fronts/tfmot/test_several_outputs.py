"""A `Distiller` of several outputs, and of outputs with axes of time or of pixels."""

import numpy as np
import pytest
from core import soft_reference as reference

from tfqkd.compat import keras, tf
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.fronts.terms import Term
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.teachers import Ensemble

losses, layers = keras.losses, keras.layers
CLASSES = losses.SparseCategoricalCrossentropy(from_logits=True)
LABELS = losses.BinaryCrossentropy(from_logits=True)
NAMES = ("kind", "tags", "age")
SIZES = dict(zip(NAMES, (4, 2, 1), strict=True))
LOSSES = {"kind": CLASSES, "tags": LABELS, "age": "mse"}
WEIGHTS = {"kind": 1.0, "tags": 0.5, "age": 2.0}
RATE, COEFFICIENT, TEMPERATURE = 0.3, 0.4, 3.0
rng = np.random.default_rng(0)
X = rng.normal(size=(20, 5)).astype(np.float32)
Y = {
    "kind": rng.integers(0, 4, 20),
    "tags": rng.integers(0, 2, (20, 2)).astype(np.float32),
    "age": rng.normal(size=(20, 1)).astype(np.float32),
}
EXAMPLE_WEIGHTS = rng.uniform(0.5, 2.0, 20)


def linear(seed, named=False, sizes=SIZES):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((5,))
    ends = {name: layers.Dense(size, name=name)(inputs) for name, size in sizes.items()}
    return keras.Model(inputs, ends if named else list(ends.values()))


def fit(student=None, teacher=None, y=None, x=X, loss=None, epochs=1, **arguments):
    arguments = {"coefficient": COEFFICIENT, "temperature": TEMPERATURE, **arguments}
    weights = arguments.pop("loss_weights", WEIGHTS)
    made = Distiller(student=student or linear(0), teacher=teacher or linear(1), **arguments)
    made.compile(keras.optimizers.SGD(RATE), loss or LOSSES, loss_weights=weights, run_eagerly=True)
    batch = {} if isinstance(x, tf.data.Dataset) else {"batch_size": 20}
    if not batch:
        y = None
    history = made.fit(x, Y if y is None and batch else y, verbose=0, epochs=epochs, **batch)
    return made, {name: values[0] for name, values in history.history.items()}


def expected_losses(student, teacher):
    """The hard and the soft loss of each output, and their slopes by the outputs."""
    kind, tags, age = NAMES
    label = reference.binary_entropy(Y[tags], student[tags]).mean(-1)
    hard = {
        kind: (
            reference.hard_loss(Y[kind], student[kind]),
            reference.hard_gradient(Y[kind], student[kind]),
        ),
        tags: (label, (reference.sigmoid(student[tags]) - Y[tags]) / 2),
        age: (
            reference.squared_error(Y[age], student[age]),
            reference.squared_error_gradient(Y[age], student[age]),
        ),
    }
    soft = {
        kind: (
            reference.soft_loss(teacher[kind], student[kind], TEMPERATURE),
            reference.soft_gradient(teacher[kind], student[kind], TEMPERATURE),
        ),
        tags: (
            reference.sigmoid_soft_loss(teacher[tags], student[tags], TEMPERATURE),
            reference.sigmoid_soft_gradient(teacher[tags], student[tags], TEMPERATURE),
        ),
        age: (
            reference.squared_error(teacher[age], student[age]),
            reference.squared_error_gradient(teacher[age], student[age]),
        ),
    }
    return hard, soft


def outputs_of(seed):
    model = linear(seed)
    return {name: X.astype(np.float64) @ model.get_layer(name).kernel.numpy() for name in NAMES}


@pytest.mark.parametrize("form", ["list", "dict"])
def test_a_step_of_several_outputs_is_the_closed_form(form):
    """One step of SGD on `Σ w·((1-λ)·hard + λ·soft)`: every value, and the weights after."""
    hard, soft = expected_losses(outputs_of(0), outputs_of(1))
    student, teacher = (linear(seed, named=form == "dict") for seed in (0, 1))
    y = Y if form == "dict" else [Y[name] for name in NAMES]
    made, logs = fit(student, teacher, y)
    for name in NAMES:
        assert logs[f"{name}_loss"] == pytest.approx(hard[name][0].mean(), rel=1e-5)
        assert logs[f"{name}_soft_loss"] == pytest.approx(soft[name][0].mean(), rel=1e-5)
    total = {
        what: sum(WEIGHTS[name] * values[name][0].mean() for name in NAMES)
        for what, values in (("hard_loss", hard), ("soft_loss", soft))
    }
    for what, value in total.items():
        assert logs[what] == pytest.approx(value, rel=1e-5)
    expected = (1 - COEFFICIENT) * total["hard_loss"] + COEFFICIENT * total["soft_loss"]
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    one, two = outputs_of(0), outputs_of(1)
    same = (one["kind"].argmax(1) == two["kind"].argmax(1)).mean()
    assert logs["kind_agreement"] == pytest.approx(same)
    assert logs["tags_agreement"] == pytest.approx(((one["tags"] > 0) == (two["tags"] > 0)).mean())
    assert "age_agreement" not in logs and "agreement" not in logs
    for name in NAMES:
        slope = (1 - COEFFICIENT) * hard[name][1] + COEFFICIENT * soft[name][1]
        before = linear(0).get_layer(name).kernel.numpy()
        after = before - RATE * WEIGHTS[name] * X.T @ slope / 20
        np.testing.assert_allclose(made.student.get_layer(name).kernel, after, atol=2e-6)


def test_weights_of_examples_are_of_all_outputs_or_of_each():
    hard, soft = expected_losses(outputs_of(0), outputs_of(1))
    for weights in (EXAMPLE_WEIGHTS, {"kind": EXAMPLE_WEIGHTS, "age": 0 * EXAMPLE_WEIGHTS}):
        data = tf.data.Dataset.from_tensors((X, Y, weights))
        _, logs = fit(x=data)
        each = weights if isinstance(weights, dict) else dict.fromkeys(NAMES, weights)
        for name in NAMES:
            factor = each.get(name, np.ones(20))
            for what, values in ((f"{name}_loss", hard), (f"{name}_soft_loss", soft)):
                expected = np.mean(factor * values[name][0])
                assert logs[what] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_every_kind_of_teacher_answers_for_all_outputs():
    first, second = linear(1), linear(2, named=True)

    def mean(batch):
        one, two = first(batch), second(batch)
        return {name: (one[i] + two[name]) / 2 for i, name in enumerate(NAMES)}

    kept = {name: values.numpy() for name, values in mean(X).items()}
    live, logs = fit(teacher=Ensemble([first, second]))
    for made, others in (
        fit(teacher=mean),
        fit(teacher=LOGITS_IN_BATCH, x=tf.data.Dataset.from_tensors(((X, kept), Y))),
        fit(
            teacher=LOGITS_IN_BATCH,
            x=tf.data.Dataset.from_tensors(((X, tuple(kept.values())), Y)),
        ),
    ):
        assert others == pytest.approx(logs, rel=1e-5)
        for one, other in zip(live.student.get_weights(), made.student.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_an_output_without_a_loss_is_left_alone():
    made, logs = fit(loss={"kind": CLASSES, "age": "mse"}, loss_weights=None)
    assert not {"tags_loss", "tags_soft_loss", "tags_agreement"} & set(logs)
    np.testing.assert_array_equal(
        made.student.get_layer("tags").kernel, linear(0).get_layer("tags").kernel
    )
    _, soft = expected_losses(outputs_of(0), outputs_of(1))
    expected = sum(soft[name][0].mean() for name in ("kind", "age"))
    assert logs["soft_loss"] == pytest.approx(expected, rel=1e-5)
    assert made.student.distilled_task == ("softmax", "", "regression")


def test_metrics_evaluation_and_prediction_are_by_output():
    made = Distiller(student=linear(0), teacher=linear(1))
    metrics = {"kind": ["accuracy"], "age": ["mae"]}
    made.compile("sgd", LOSSES, metrics=metrics)
    history = made.fit(X, Y, validation_data=(X, Y), verbose=0).history
    for name in ("kind_accuracy", "age_mae", "kind_loss", "kind_soft_loss"):
        assert name in history
    assert {"val_loss", "val_kind_loss", "val_kind_accuracy"} <= set(history)
    measured = made.evaluate(X, Y, verbose=0, return_dict=True)
    kind, _, age = (output.numpy() for output in made.student(X))
    assert measured["kind_accuracy"] == pytest.approx((kind.argmax(1) == Y["kind"]).mean())
    assert measured["age_mae"] == pytest.approx(np.abs(age - Y["age"]).mean(), rel=1e-5)
    assert [each.shape for each in made.predict(X, verbose=0)] == [(20, 4), (20, 2), (20, 1)]


def test_labels_of_one_output_that_do_not_exist_are_refused():
    made = Distiller(student=linear(0), teacher=linear(1))
    made.compile("sgd", LOSSES)
    with pytest.raises(ValueError, match=r"student's 4 classes.*from 0 to 9"):
        made.fit(X, {**Y, "kind": np.arange(20) % 10}, verbose=0)


def ends_in_softmax():
    model = linear(1)
    ends = [layers.Softmax()(model.outputs[0]), *model.outputs[1:]]
    return keras.Model(model.input, ends)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"teacher": linear(1, sizes={"kind": 4, "tags": 2})},
            "with 4, 2, 1 and a teacher with 4, 2",
        ),
        (
            {"teacher": linear(1, sizes={**SIZES, "tags": 3})},
            r"with 4, 2, 1 and a teacher with 4, 3, 1",
        ),
        ({"teacher": ends_in_softmax()}, "teacher must end in logits.*applies softmax"),
        (
            {"teacher": lambda batch: batch},
            r"return the outputs kind, tags, age. Received: 1 tensors",
        ),
        ({"task": {"sort": "softmax"}}, "use their names, kind, tags, age. Received: sort"),
        ({"task": ["softmax"]}, "one entry for each: kind, tags, age. Received: 1"),
        ({"task": "labels"}, "`task` must be one of"),
        ({"loss": [CLASSES]}, "one entry for each"),
        ({"loss": {"kind": losses.Hinge()}}, "loss=Hinge"),
        (
            {"terms": [Term("taps", lambda seen: 0.0)]},
            "one output. Received: 1 terms for .* kind, tags",
        ),
        ({"soft_loss": "dkd"}, "'dkd' compares the classes.*task='sigmoid'"),
    ],
)
def test_what_does_not_fit_the_outputs_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


def pixels(seed):
    """A class for each of 3 × 2 pixels."""
    keras.utils.set_random_seed(seed)
    dense = layers.Dense(4, use_bias=False, name="end")
    return keras.Sequential([keras.Input((3, 2, 5)), dense])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_class_for_each_pixel_is_the_closed_form(weighted):
    x = rng.normal(size=(6, 3, 2, 5)).astype(np.float32)
    y = rng.integers(0, 4, (6, 3, 2))
    weights = rng.uniform(0.5, 2.0, (6, 3, 2)) if weighted else np.ones((6, 3, 2))
    student, teacher = pixels(0), pixels(1)
    one, two = (
        x.astype(np.float64) @ m.get_layer("end").kernel.numpy() for m in (student, teacher)
    )
    made = Distiller(student=student, teacher=teacher, coefficient=0.5, temperature=TEMPERATURE)
    made.compile(keras.optimizers.SGD(0.0), CLASSES)
    given = {"sample_weight": weights} if weighted else {}
    logs = made.fit(x, y, batch_size=6, verbose=0, **given).history
    flat = [each.reshape(-1, 4) for each in (two, one)]
    soft = reference.soft_loss(*flat, TEMPERATURE).reshape(weights.shape)
    hard = reference.hard_loss(y.ravel(), flat[1]).reshape(weights.shape)
    assert logs["soft_loss"][0] == pytest.approx((weights * soft).mean(), rel=1e-5)
    assert logs["hard_loss"][0] == pytest.approx((weights * hard).mean(), rel=1e-5)
    assert logs["agreement"][0] == pytest.approx((one.argmax(-1) == two.argmax(-1)).mean())


def words(seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,), dtype="int32")
    embedded = layers.Embedding(7, 3, mask_zero=True, name="words")(inputs)
    return keras.Model(inputs, layers.Dense(3, name="end")(embedded))


def test_steps_that_a_mask_leaves_out_count_in_neither_loss():
    x = np.array([[1, 2, 0, 0], [3, 4, 5, 6], [2, 0, 0, 0]])
    y = np.random.default_rng(3).integers(0, 3, x.shape)
    student, teacher = words(0), words(1)
    one, two = (model(x).numpy().astype(np.float64) for model in (student, teacher))
    made = Distiller(student=student, teacher=teacher, coefficient=0.5, temperature=TEMPERATURE)
    made.compile(keras.optimizers.SGD(0.0), CLASSES)
    logs = made.fit(x, y, batch_size=3, verbose=0).history
    counts = x > 0
    soft = reference.soft_loss(two[counts], one[counts], TEMPERATURE)
    hard = reference.hard_loss(y[counts], one[counts])
    assert logs["soft_loss"][0] == pytest.approx(soft.mean(), rel=1e-5)
    assert logs["hard_loss"][0] == pytest.approx(hard.mean(), rel=1e-5)
    same = one[counts].argmax(-1) == two[counts].argmax(-1)
    assert logs["agreement"][0] == pytest.approx(same.mean())
