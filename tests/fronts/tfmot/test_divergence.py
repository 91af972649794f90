import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.divergence import Divergence

TITLE = "float student (cnn2), seed 0"


def make(scale=None, steps_per_execution=1, jit_compile=False):
    """A model of one weight per layer: first · second · x, with an absolute loss."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="first"),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="second"),
        ]
    )
    optimizer = keras.optimizers.SGD(0.0)
    if scale:
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=scale)
    model.compile(
        optimizer,
        keras.losses.MeanAbsoluteError(),
        steps_per_execution=steps_per_execution,
        jit_compile=jit_compile,
    )
    return model


def fit(model, inputs, epochs=1):
    """Fits one step for each input; only then is it asked what happened."""
    divergence = Divergence(TITLE, model, model, len(inputs))
    data = tf.data.Dataset.from_tensor_slices(
        (np.float32(inputs)[:, None, None], np.zeros((len(inputs), 1, 1), np.float32))
    ).repeat(epochs)
    model.fit(data, epochs=epochs, steps_per_epoch=len(inputs), verbose=0)
    divergence.require_none()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "options",
    [{}, {"steps_per_execution": 4}, {"steps_per_execution": 4, "jit_compile": True}],
    ids=["one step", "four steps", "XLA"],
)
def test_the_step_and_the_loss_are_named(bad, options):
    with pytest.raises(ValueError) as error:
        fit(make(**options), [1, 2, bad, 1])
    message = str(error.value)
    # The loss of that very step; the steps after it make it NaN.
    assert f"Received: loss {abs(bad)} in step 3 of epoch 1 of the {TITLE}." in message
    assert "The last good checkpoint is kept." in message


def test_gradients_that_are_not_finite_ruin_the_loss_of_the_next_step():
    model = make()
    # The loss is 1e20, and second·x = 1e50 the gradient of the first kernel.
    model.get_layer("first").kernel.assign([[1e-30]])
    model.get_layer("second").kernel.assign([[1e30]])
    with pytest.raises(ValueError, match="loss nan in step 2 of epoch 1"):
        fit(model, [1e20] * 3)


def test_a_loss_that_is_infinite_with_finite_gradients_ends_training_too():
    model = make()
    huge = np.float32(3e38)
    with pytest.raises(ValueError) as error:
        # The sum behind the mean of the epoch overflows; each gradient is 3e38.
        fit(model, [huge, huge, huge])
    assert "loss inf in step 2 of epoch 1" in str(error.value)


def test_steps_are_counted_in_their_epoch():
    model = make()
    divergence = Divergence(TITLE, model, model, 2)
    inputs = np.float32([1, 1, 1, 1, 1, np.nan])[:, None, None]
    data = tf.data.Dataset.from_tensor_slices((inputs, inputs))
    model.fit(data, epochs=3, steps_per_epoch=2, verbose=0)
    with pytest.raises(ValueError, match="in step 2 of epoch 3"):
        divergence.require_none()


# With both kernels 1 the loss of an input is itself, and so is each gradient, which is scaled.
LARGE = 1e36


def test_an_overflow_that_loss_scaling_skips_does_not_count():
    model = make(scale=2.0**10)
    fit(model, [1, LARGE, 1, 1])
    assert float(model.optimizer.loss_scale) == 2.0**9
    assert int(model.optimizer.iterations) == 4


@pytest.mark.parametrize("steps_per_execution", [1, 6])
def test_an_overflow_counts_once_there_is_nothing_left_to_scale_down(steps_per_execution):
    model = make(scale=4.0, steps_per_execution=steps_per_execution)
    # The loss is 1e20, and second·x = 1e50 the gradient of the first kernel.
    model.get_layer("first").kernel.assign([[1e-30]])
    model.get_layer("second").kernel.assign([[1e30]])
    with pytest.raises(ValueError, match=r"gradients that are not finite in step 3 of epoch 1"):
        fit(model, [1e20] * 6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_counts_at_once_whatever_the_scale(bad):
    """Loss scaling scales gradients: where the loss itself is ruined, it mends nothing."""
    with pytest.raises(ValueError) as error:
        fit(make(scale=2.0**15), [1, LARGE, bad, 1])
    assert f"Received: loss {bad} in step 3 of epoch 1" in str(error.value)


@pytest.mark.parametrize("steps_per_execution", [1, 5])
def test_gradients_that_were_skipped_are_not_told_with_a_later_loss(steps_per_execution):
    model = make(scale=2.0**15, steps_per_execution=steps_per_execution)
    # The second and the fourth are skipped; at the fifth the sum behind the mean of the losses overflows.
    with pytest.raises(ValueError) as error:
        fit(model, [1, LARGE, 1, np.float32(3e38), np.float32(3e38)])
    assert "Received: loss inf in step 5 of epoch 1" in str(error.value)


@pytest.mark.parametrize("steps_per_execution", [1, 6])
def test_the_losses_that_were_ruined_first_are_named_and_no_others(steps_per_execution):
    student = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])

    def teacher(inputs):
        return tf.where(inputs > 5, np.nan, inputs)

    distiller = Distiller(student=student, teacher=teacher, coefficient=0.5)
    distiller.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )
    divergence = Divergence(TITLE, distiller, student, 6)
    inputs = np.ones((6, 1, 2), np.float32)
    inputs[2] = 9
    data = tf.data.Dataset.from_tensor_slices((inputs, np.tile(np.eye(2)[:1], (6, 1, 1))))
    distiller.fit(data, verbose=0)
    # By now the weights are ruined, and with them the hard loss and the sums of all of them.
    assert not np.isfinite(student.get_weights()[0]).any()
    with pytest.raises(ValueError) as error:
        divergence.require_none()
    assert "Received: loss nan, soft_loss nan in step 3 of epoch 1" in str(error.value)


def test_a_training_that_stays_finite_goes_to_its_end():
    model = make(steps_per_execution=2)
    fit(model, [1, 2, 3], epochs=2)
    assert int(model.optimizer.iterations) == 6


def test_weights_that_no_gradient_reaches_must_be_finite_too():
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(name="norm")])
    model.compile("sgd", "mse")
    divergence = Divergence("float teacher", model, model, 9)
    divergence.require_finite_weights("epoch 1")
    # No loss in training mode shows it.
    model.get_layer("norm").moving_variance.assign([1.0, float("inf")])
    with pytest.raises(ValueError) as error:
        divergence.require_finite_weights("epoch 0 and 4 steps")
    assert str(error.value).startswith(
        "The weights must stay finite. Received: norm/moving_variance after epoch 0 and 4 steps of the "
        "float teacher. The last good checkpoint is kept."
    )
