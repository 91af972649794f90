import math

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.activations import PactQuantizer
from tfqkd.core.quantizers import LsqQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.model import quantize_model, quantizer_variables
from tfqkd.fronts.tfmot.optimizers import WarmUp, make_optimizer
from tfqkd.recipe.recipe import Recipe

from .fittings import fitting

STEPS = 7


def dense_model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def rates(learning_rate, epochs, **settings):
    """The learning rate of every step of a stage: what a gradient of one takes from a zero weight."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    recipe = Recipe({"training.momentum": 0.0, "training.weight_decay": 0.0, **settings})
    optimizer = make_optimizer(fitting(recipe, learning_rate, epochs, STEPS), model)
    (weight,) = model.trainable_variables
    found = []
    for _ in range(epochs * STEPS):
        weight.assign([[0.0]])
        optimizer.apply_gradients([(tf.ones([1, 1]), weight)])
        found.append(-float(weight[0, 0]))
    return np.array(found)


def expected_rates(kind, learning_rate, epochs, milestones, factor, warmup_epochs):
    """The same in NumPy: the schedule, times the rise of the warm-up."""
    total = epochs * STEPS
    step = np.arange(total, dtype=np.float64)
    rate = np.full(total, learning_rate)
    if kind == "cosine":
        rate = learning_rate * (1 + np.cos(np.pi * step / total)) / 2
    if kind == "step":
        for share in milestones:
            rate[step >= round(share * total)] *= factor
    if warmup_epochs:
        rate *= np.minimum((step + 1) / round(warmup_epochs * STEPS), 1)
    return rate


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(
    ("kind", "milestones"),
    [
        ("step", (0.5, 0.75)),
        ("step", (0.1, 0.2, 0.95)),
        ("step", ()),
        ("cosine", (0.3,)),
        ("constant", (0.3,)),
    ],
)
def test_the_learning_rate_of_every_step(kind, milestones, warmup_epochs):
    found = rates(
        0.3,
        4,
        **{
            "training.schedule": kind,
            "training.milestones": milestones,
            "training.factor": 0.2,
            "training.warmup_epochs": warmup_epochs,
        },
    )
    expected = expected_rates(kind, 0.3, 4, milestones, 0.2, warmup_epochs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_a_milestone_has_the_new_rate_at_its_own_step():
    found = rates(0.25, 4, **{"training.milestones": (0.5, 0.75), "training.factor": 0.5})
    assert found.tolist() == [0.25] * 14 + [0.125] * 7 + [0.0625] * 7


def test_the_cosine_ends_near_zero():
    found = rates(0.1, 4, **{"training.schedule": "cosine"})
    last = 0.1 * (1 - math.cos(math.pi / (4 * STEPS))) / 2
    assert found[-1] == pytest.approx(last, rel=1e-3)


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_stage_without_epochs_has_an_optimizer(epochs):
    assert make_optimizer(fitting(Recipe(), 0.1, epochs, STEPS), dense_model()) is not None


def test_the_warm_up_reaches_its_schedule_at_its_last_step():
    rise = WarmUp(0.8, 4)
    values = [float(rise(tf.constant(step, tf.int64))) for step in range(6)]
    np.testing.assert_allclose(values, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)
    assert WarmUp.from_config(rise.get_config()).get_config() == rise.get_config()


def mixed_model():
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(3, 3, bias_initializer="ones")(inputs)
    x = keras.layers.BatchNormalization(beta_initializer="ones")(x)
    x = keras.layers.DepthwiseConv2D(3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, bias_initializer="ones")(x))


def step_with_zero_gradients(model, optimizer):
    before = {weight.name: weight.numpy() for weight in model.trainable_variables}
    zeros = [tf.zeros_like(weight) for weight in model.trainable_variables]
    optimizer.apply_gradients(zip(zeros, model.trainable_variables, strict=True))
    return before, {weight.name: weight.numpy() for weight in model.trainable_variables}


def test_weight_decay_shrinks_kernels_by_rate_times_decay_and_nothing_else():
    model = mixed_model()
    recipe = Recipe(
        {"training.weight_decay": 0.25, "training.schedule": "constant", "training.momentum": 0.9}
    )
    optimizer = make_optimizer(fitting(recipe, 0.5, 1, 1), model)
    before, after = step_with_zero_gradients(model, optimizer)
    kernels = [name for name in before if "kernel" in name]
    assert len(kernels) == 3
    assert len(before) == 8
    for name, weight in before.items():
        # 1 - 0.5 · 0.25 is exact in binary: so is the product.
        np.testing.assert_array_equal(after[name], weight * (0.875 if name in kernels else 1))


def test_the_moving_average_is_that_of_the_weights_after_each_step():
    recipe = Recipe(
        {"training.weight_decay": 0.0, "training.schedule": "constant", "training.momentum": 0.0}
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    variable = model.layers[0].kernel
    variable.assign([[4.0]])
    optimizer = make_optimizer(fitting(recipe, 1.0, 1, 1, ema=0.75), model)
    for _ in range(2):  # 4, 3, 2
        optimizer.apply_gradients([(tf.ones((1, 1)), variable)])
    optimizer.finalize_variable_values([variable])
    first = 0.75 * 4 + 0.25 * 3
    np.testing.assert_allclose(variable, [[0.75 * first + 0.25 * 2]])


def test_weight_decay_leaves_learned_scales_alone():
    scheme = Scheme(LsqQuantizer(4, "channel"), PactQuantizer(4))
    model = quantize_model(
        keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(3, activation="relu", name="first"),
                keras.layers.Dense(2, name="second"),
            ]
        ),
        scheme,
        layers=".*",
    )
    recipe = Recipe(
        {"training.weight_decay": 0.25, "training.schedule": "constant", "training.momentum": 0.0}
    )
    learned = {variable.name for variable in quantizer_variables(model)}
    assert len(learned) == 3
    before = {variable.name: variable.numpy() for variable in model.trainable_variables}
    step_with_zero_gradients(model, make_optimizer(fitting(recipe, 0.5, 1, 1), model))
    for variable in model.trainable_variables:
        factor = 1 - 0.25 * 0.5 if "kernel:" in variable.name else 1
        np.testing.assert_allclose(variable, factor * before[variable.name], rtol=1e-6)


def test_weight_decay_follows_the_schedule():
    model = mixed_model()
    recipe = Recipe(
        {"training.weight_decay": 0.25, "training.milestones": (0.5,), "training.factor": 0.5}
    )
    optimizer = make_optimizer(fitting(recipe, 0.5, 1, 2), model)
    for factor in (1 - 0.5 * 0.25, 1 - 0.25 * 0.25):
        before, after = step_with_zero_gradients(model, optimizer)
        kernel = next(name for name in before if "kernel" in name)
        np.testing.assert_array_equal(after[kernel], before[kernel] * np.float32(factor))


def test_without_weight_decay_a_zero_gradient_changes_nothing():
    model = mixed_model()
    optimizer = make_optimizer(fitting(Recipe({"training.weight_decay": 0.0}), 0.5, 1, 1), model)
    before, after = step_with_zero_gradients(model, optimizer)
    for name, weight in before.items():
        np.testing.assert_array_equal(after[name], weight)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_the_momentum_is_nesterovs(momentum):
    model = dense_model()
    recipe = Recipe(
        {
            "training.weight_decay": 0.0,
            "training.schedule": "constant",
            "training.momentum": momentum,
        }
    )
    optimizer = make_optimizer(fitting(recipe, 0.1, 1, 3), model)
    weights = [weight.numpy().astype(np.float64) for weight in model.trainable_variables]
    velocities = [np.zeros_like(weight) for weight in weights]
    generator = np.random.default_rng(0)
    for _ in range(3):
        gradients = [generator.normal(size=weight.shape) for weight in weights]
        for index, gradient in enumerate(gradients):
            velocities[index] = momentum * velocities[index] - 0.1 * gradient
            weights[index] += momentum * velocities[index] - 0.1 * gradient
        tensors = [tf.constant(gradient, tf.float32) for gradient in gradients]
        optimizer.apply_gradients(zip(tensors, model.trainable_variables, strict=True))
    for variable, weight in zip(model.trainable_variables, weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5, atol=1e-6)
