import numpy as np
import pytest

from tests.core import reference
from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.quantizers import DorefaQuantizer, LsqQuantizer, UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.tfmot.gradual import GradualQuantization
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.fronts.tfmot.stripping import strip_quantization

layers = keras.layers
DATA = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
TARGETS = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(20, activation="relu", name="inner"),
            layers.Dense(3, name="last"),
        ]
    )


class Recorded(keras.callbacks.Callback):
    """Latent and quantized kernel at the end of every epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        (kernel,) = quantized_kernels(self.model)
        self.before = getattr(self, "before", [])
        self.before.append((kernel.latent.numpy(), kernel.value().numpy()))


def fit(quantizer, shares=(), epochs=3, optimizer=None, **options):
    quantized = quantize_model(network(), Scheme(quantizer), layers="inner")
    quantized.compile(optimizer or keras.optimizers.SGD(0.05), "mse", **options)
    recorded = Recorded()
    callbacks = [GradualQuantization(shares), recorded]
    quantized.fit(DATA, TARGETS, epochs=epochs, verbose=0, callbacks=callbacks)
    return quantized, recorded.before


@pytest.mark.parametrize(
    ("granularity", "jit_compile"),
    [
        ("channel", False),
        pytest.param("tensor", False, marks=pytest.mark.slow),
        pytest.param("tensor", True, marks=pytest.mark.slow),
        pytest.param("channel", True, marks=pytest.mark.slow),
    ],
)
def test_bits_fall_and_each_width_starts_from_the_weights_of_its_turn(granularity, jit_compile):
    quantizer = GradualQuantizer(UniformQuantizer(2, granularity), wider=(8, 4))
    quantized, before = fit(quantizer, jit_compile=jit_compile)
    axes = (1,) if granularity == "channel" else ()
    for (latent, value), bits in zip(before, (8, 4, 2), strict=True):
        np.testing.assert_allclose(value, reference.quantized(latent, bits, axes), rtol=1e-5)
    assert np.abs(before[1][0] - before[0][0]).max() > 1e-4
    (kernel,) = quantized_kernels(quantized)
    assert kernel.quantizer.bits == 2
    np.testing.assert_array_equal(quantized(DATA), strip_quantization(quantized)(DATA))


def test_learned_steps_of_the_present_width_alone_are_trained():
    quantized, before = fit(GradualQuantizer(LsqQuantizer(3), wider=(6,)), epochs=2)
    (kernel,) = quantized_kernels(quantized)
    latent, value = before[1]
    step = np.float32(2 * np.abs(latent).mean() / 3**0.5)
    np.testing.assert_allclose(value, reference.lsq(latent, step, -4, 3), rtol=1e-4)
    assert np.abs(kernel.state["3bit_step"].numpy() - step).max() > 1e-7
    assert kernel.scales().numpy() == kernel.state["3bit_step"].numpy()


def test_a_share_of_the_largest_weights_is_quantized_and_rests_while_the_others_train():
    # Momentum and decoupled weight decay move weights that get no gradient.
    quantized, before = fit(
        GradualQuantizer(UniformQuantizer(2), by_share=True),
        (0.25, 0.5),
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1),
    )
    step = before[0][1][np.argmax(np.abs(before[0][0])) // 20, np.argmax(np.abs(before[0][0])) % 20]
    chosen = []
    for (latent, value), share in zip(before, (0.25, 0.5, 1.0), strict=True):
        ternary = reference.codes(latent, np.abs(step), 2) * np.abs(step)
        mask = np.isclose(value, ternary) & (value != latent)
        assert mask.sum() == pytest.approx(share * 120, abs=1)
        np.testing.assert_array_equal(value[~mask], latent[~mask])
        chosen.append(mask)
    largest = np.sort(np.abs(before[0][0]).ravel())[-30:]
    assert np.abs(before[0][0])[chosen[0]].min() == largest[0]
    assert (chosen[1] >= chosen[0]).all()
    # The chosen ones rest, and the others move.
    for epoch in (0, 1):
        moved = before[epoch + 1][0] != before[epoch][0]
        assert not moved[chosen[epoch]].any()
        assert moved[~chosen[epoch]].mean() > 0.8
    # In the last epoch, all are quantized and train.
    (kernel,) = quantized_kernels(quantized)
    assert (kernel.latent.numpy() != before[2][0])[chosen[0]].mean() > 0.8
    np.testing.assert_array_equal(quantized(DATA), strip_quantization(quantized)(DATA))


OPTIMIZERS = {
    "moving average": lambda: keras.optimizers.SGD(
        0.05, momentum=0.9, weight_decay=0.1, use_ema=True, ema_momentum=0.9
    ),
    # It divides by the gradient's size: the regulariser alone moves resting weights by whole steps.
    "Adam": lambda: keras.optimizers.Adam(0.05),
}


def shared(optimizer, steps_per_execution, jit_compile=False):
    """Weights at the start of each epoch and at the end, and the history, of seven steps an epoch."""
    keras.utils.set_random_seed(0)
    regularized = {"kernel_regularizer": keras.regularizers.L2(0.1)}
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(20, activation="relu", name="inner", **regularized),
            layers.Dense(3, name="last"),
        ]
    )
    quantizer = GradualQuantizer(UniformQuantizer(2, "channel", "every_step"), (4,), by_share=True)
    quantized = quantize_model(model, Scheme(quantizer), layers="inner")
    quantized.compile(
        OPTIMIZERS[optimizer](),
        "mse",
        steps_per_execution=steps_per_execution,
        jit_compile=jit_compile,
    )
    data = np.random.default_rng(2).normal(size=(14, 9)).astype(np.float32)
    recorded = Recorded()
    history = quantized.fit(
        data[:, :6],
        data[:, 6:],
        batch_size=2,
        epochs=4,
        shuffle=False,
        verbose=0,
        validation_data=(data[:, :6], data[:, 6:]),
        callbacks=[GradualQuantization((0.3, 0.6)), recorded],
    )
    return [*recorded.before, quantized.get_weights()], history.history


@pytest.mark.parametrize(
    ("optimizer", "jit_compile"),
    [
        ("moving average", False),
        pytest.param("moving average", True, marks=pytest.mark.slow),
        pytest.param("Adam", False, marks=pytest.mark.slow),
    ],
)
def test_weights_rest_whatever_the_number_of_steps_in_a_call(optimizer, jit_compile):
    expected, history = shared(optimizer, 1, jit_compile)
    # Calls of three, three and one step.
    found, other = shared(optimizer, 3, jit_compile)
    for one, two in zip(expected, found, strict=True):
        for weight, same in zip(one, two, strict=True):
            np.testing.assert_allclose(same, weight, rtol=1e-5, atol=1e-6)
    for name, values in history.items():
        np.testing.assert_allclose(other[name], values, rtol=1e-5)


def test_a_gradual_model_survives_h5_and_checkpoint_in_the_middle(tmp_path):
    quantizer = GradualQuantizer(LsqQuantizer(2), wider=(4,), by_share=True)
    quantized, _ = fit(quantizer, (0.5,), epochs=2)
    (kernel,) = quantized_kernels(quantized)
    kernel.state["width"].assign(0.0)
    kernel.state["share"].assign(0.5)
    expected = quantized(DATA).numpy()
    quantized.save(tmp_path / "model.h5", include_optimizer=False)
    with tfmot.quantization.keras.quantize_scope():
        loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_array_equal(loaded(DATA), expected)
    path = tf.train.Checkpoint(model=quantized).save(tmp_path / "checkpoint")
    other = quantize_model(network(), Scheme(quantizer), layers="inner")
    tf.train.Checkpoint(model=other).restore(path).expect_partial()
    np.testing.assert_array_equal(other(DATA), expected)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"`wider` must fall.*Received: wider=\(4, 8\)"):
        GradualQuantizer(UniformQuantizer(2), wider=(4, 8))
    with pytest.raises(ValueError, match=r"`shares` must rise within \(0, 1\)"):
        GradualQuantization((0.5, 1.0))
    quantized = quantize_model(network(), layers="inner")
    quantized.compile("sgd", "mse")
    with pytest.raises(ValueError, match="needs a model with gradual quantizers"):
        quantized.fit(DATA, TARGETS, verbose=0, callbacks=[GradualQuantization()])


@pytest.mark.parametrize(
    ("quantizer", "shares", "least"),
    [
        (GradualQuantizer(UniformQuantizer(2), wider=(8, 4)), (), 3),
        (GradualQuantizer(UniformQuantizer(2), by_share=True), (0.5,), 2),
    ],
)
def test_as_many_epochs_as_widths_and_shares_reach_the_end_and_fewer_are_refused(
    quantizer, shares, least
):
    with pytest.raises(ValueError, match=rf"`epochs` must be at least.*epochs={least - 1} for"):
        fit(quantizer, shares, epochs=least - 1)
    quantized, _ = fit(quantizer, shares, epochs=least)
    (kernel,) = quantized_kernels(quantized)
    assert len(np.unique(kernel.value())) == 3


@pytest.mark.parametrize("steps", [7, 49])
def test_every_width_has_its_epoch_however_many_there_are(steps):
    # (48/49)·49 falls below 48 in floating point.
    shares = [(number + 1) / steps for number in range(steps - 1)]
    gradual = GradualQuantization(shares)
    quantized = quantize_model(
        network(), Scheme(GradualQuantizer(UniformQuantizer(2), by_share=True)), layers="inner"
    )
    (kernel,) = quantized_kernels(quantized)
    gradual.set_model(quantized)
    gradual.set_params({"epochs": steps})
    gradual.on_train_begin()
    for epoch, share in enumerate(gradual.shares):
        gradual.on_epoch_begin(epoch)
        assert kernel.state["share"].numpy() == np.float32(share)


def test_gradients_are_rounded_on_the_way_too():
    quantizer = GradualQuantizer(DorefaQuantizer(2, gradient_bits=6), wider=(8,))
    quantized = quantize_model(network(), Scheme(quantizer), layers="inner")
    assert quantized.get_layer("inner").quantize_config.gradient_bits == 6


def test_another_width_keeps_the_wider_ones_before_it():
    gradual = GradualQuantizer(UniformQuantizer(2), wider=(8, 4)).with_bits(4)
    assert gradual == GradualQuantizer(UniformQuantizer(4), wider=(8,))
