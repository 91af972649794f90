import numpy as np
import pytest
from core import soft_reference as reference

from tfqkd.compat import keras, tf
from tfqkd.core import schedules
from tfqkd.core.schedulers import (
    CoefficientScheduler,
    GradualSoftLossReducing,
    TemperatureScheduler,
)
from tfqkd.fronts.tfmot.distiller import Distiller

generator = np.random.default_rng(0)
IMAGES = generator.normal(size=(22, 5)).astype(np.float32)
LABELS = generator.integers(0, 4, 22)
KERNEL, TEACHER = generator.normal(size=(2, 5, 4)).astype(np.float32)
RATE, BATCH, STEPS = 0.3, 4, 6  # The sixth batch has 2 examples.


def linear(kernel):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    model.set_weights([kernel, np.zeros(4)])
    return model


def distiller(**compile_arguments):
    made = Distiller(student=linear(KERNEL), teacher=linear(TEACHER))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.SGD(RATE), loss, **compile_arguments)
    return made


def fit(made, callbacks, **arguments):
    arguments = {"epochs": 2, **arguments}
    return made.fit(
        IMAGES, LABELS, BATCH, shuffle=False, verbose=0, callbacks=callbacks, **arguments
    ).history


def train_by_numpy(coefficients, temperatures):
    kernel, bias = np.float64(KERNEL), np.zeros(4)
    for step, (coefficient, temperature) in enumerate(zip(coefficients, temperatures, strict=True)):
        batch = slice(BATCH * (step % STEPS), BATCH * (step % STEPS + 1))
        images, labels = IMAGES[batch], LABELS[batch]
        kernel, bias = reference.sgd_step(
            kernel, bias, images, labels, images @ TEACHER, RATE, coefficient, temperature
        )
    return kernel, bias


@pytest.mark.parametrize(
    ("steps_per_execution", "jit_compile"), [(1, False), (4, False), (4, True)]
)
def test_each_step_trains_with_its_own_coefficient_and_temperature(
    steps_per_execution, jit_compile
):
    made = distiller(steps_per_execution=steps_per_execution, jit_compile=jit_compile)
    coefficient, temperature = schedules.Cosine(1.0, 0.0), schedules.Exponential(4.0, 1.0)
    callbacks = [
        CoefficientScheduler(coefficient, on="step"),
        TemperatureScheduler(temperature, on="step"),
    ]
    history = fit(made, callbacks)
    progress = np.arange(2 * STEPS) / (2 * STEPS - 1)
    coefficients, temperatures = ([f(p) for p in progress] for f in (coefficient, temperature))
    for variable, expected in zip(
        made.student.weights, train_by_numpy(coefficients, temperatures), strict=True
    ):
        np.testing.assert_allclose(variable, expected, atol=1e-5)
    np.testing.assert_allclose(history["coefficient"], [coefficients[5], 0], atol=1e-6)
    np.testing.assert_allclose(history["temperature"], [temperatures[5], 1], rtol=1e-6)


def test_each_epoch_trains_with_its_own_coefficient_and_temperature():
    made = distiller()
    history = fit(made, [GradualSoftLossReducing(0.8), TemperatureScheduler(lambda p: 3 - 2 * p)])
    for variable, expected in zip(
        made.student.weights,
        train_by_numpy([0.8] * STEPS + [0] * STEPS, [3] * STEPS + [1] * STEPS),
        strict=True,
    ):
        np.testing.assert_allclose(variable, expected, atol=1e-5)
    assert history["coefficient"] == pytest.approx([0.8, 0.0])
    assert history["temperature"] == pytest.approx([3.0, 1.0])


@pytest.mark.parametrize("on", ["epoch", "step"])
def test_a_step_schedule_falls_inside_an_epoch_too(on):
    made = distiller(steps_per_execution=4)
    schedule = schedules.Step(0.8, (0.25, 0.6), 0.5)
    history = fit(made, [CoefficientScheduler(schedule, on=on)])
    # Twelve steps: 0.25 · 12 = 3 and 0.6 · 12 = 7.2.
    expected = train_by_numpy([0.8] * 3 + [0.4] * 4 + [0.2] * 5, [2.0] * 12)
    for variable, weight in zip(made.student.weights, expected, strict=True):
        np.testing.assert_allclose(variable, weight, atol=1e-5)
    assert history["coefficient"] == pytest.approx([0.4, 0.2])


def test_one_fit_after_another_follows_the_schedule_of_its_own():
    made = distiller()
    by_step = [CoefficientScheduler(schedules.Linear(1.0, 0.5), on="step")]
    assert fit(made, by_step)["coefficient"] == pytest.approx([1 - 5 / 22, 0.5])
    # Without a schedule the last value stays; an assigned one is not overwritten by the old table.
    assert fit(made, [])["coefficient"] == pytest.approx([0.5, 0.5])
    made.coefficient.assign(0.25)
    assert fit(made, [])["coefficient"] == pytest.approx([0.25, 0.25])
    # The optimizer has made 36 steps by now.
    assert fit(made, by_step)["coefficient"] == pytest.approx([1 - 5 / 22, 0.5])
    # A run that goes on at its second epoch.
    assert fit(made, by_step, initial_epoch=1)["coefficient"] == pytest.approx([0.5])
    epochs = [CoefficientScheduler(schedules.Linear(1.0, 0.0))]
    assert fit(made, epochs, epochs=3, initial_epoch=1)["coefficient"] == pytest.approx([0.5, 0.0])


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("callbacks", "expected"),
    [([], 0.25), ([CoefficientScheduler(schedules.Constant(0.75))], 0.75)],
)
def test_a_schedule_by_step_ends_with_its_fit_also_when_that_is_interrupted(callbacks, expected):
    made = distiller()
    with pytest.raises(KeyboardInterrupt):
        fit(made, [CoefficientScheduler(schedules.Linear(1.0, 0.0), on="step"), Interrupt()])
    made.coefficient.assign(0.25)
    assert fit(made, callbacks, epochs=1)["coefficient"] == pytest.approx([expected])


def test_a_schedule_by_step_needs_the_number_of_steps():
    endless = tf.data.Dataset.from_tensors((IMAGES, LABELS)).repeat()
    unknown = endless.take(3).filter(lambda images, labels: True)
    callback = CoefficientScheduler(schedules.Linear(1.0), on="step")
    with pytest.raises(ValueError, match=r"needs the number of steps.*Pass `steps_per_epoch`"):
        distiller().fit(unknown, epochs=2, verbose=0, callbacks=[callback])
    inside = CoefficientScheduler(schedules.Step(0.8, (0.3,)))
    with pytest.raises(ValueError, match=r"milestones inside an epoch, needs the number of steps"):
        distiller().fit(unknown, epochs=2, verbose=0, callbacks=[inside])
    between = CoefficientScheduler(schedules.Step(0.8, (0.5,)))
    history = distiller().fit(unknown, epochs=2, verbose=0, callbacks=[between])
    assert history.history["coefficient"] == pytest.approx([0.8, 0.08])
    history = distiller().fit(endless, epochs=2, steps_per_epoch=2, verbose=0, callbacks=[callback])
    assert history.history["coefficient"] == pytest.approx([2 / 3, 0.0])


class Seen(keras.callbacks.Callback):
    """Notes the coefficient of each epoch as it begins."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_epoch_begin(self, epoch, logs=None):
        self.values.append(float(self.model.coefficient.numpy()))


def test_one_scheduler_serves_many_fits_and_callbacks_keep_their_order():
    scheduler = CoefficientScheduler(schedules.Linear(1.0, 0.0))
    for _ in range(2):
        made, before, after = distiller(), Seen(), Seen()
        # By position too, as Keras takes it.
        made.fit(IMAGES, LABELS, 11, 2, 0, [before, scheduler, after])
        assert before.values == [0.5, 1.0]
        assert after.values == [1.0, 0.0]
    assert fit(made, scheduler, epochs=3)["coefficient"] == [1.0, 0.5, 0.0]
