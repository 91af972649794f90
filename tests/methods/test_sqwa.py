import dataclasses

import numpy as np
import pytest

from methods.training_of import FITTING, Training, assert_same, network, resumed
from tfqkd.core.quantizers import LsqQuantizer
from tfqkd.core.schedules import values
from tfqkd.core.schemes import Scheme, UniformScheme
from tfqkd.core.steps import optimal_step
from tfqkd.methods.sqwa import Sqwa, averaged

METHOD = Sqwa(captures=3, cycle_epochs=1, fine_tune_share=0.25)


def quantized(kernel):
    """Δ times codes, in NumPy: halves away from zero."""
    weights, step = kernel.latent.read(), kernel.state["step"].read()
    largest = 2 ** (kernel.quantizer.bits - 1) - 1
    scaled = weights / step
    codes = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
    return (step * np.clip(codes, -largest, largest)).astype(np.float32)


def captures_of(method, scheme=None):
    """Trains, and returns the training with the quantized kernels and floats behind each epoch."""
    training = Training((method,), scheme=scheme or UniformScheme(2))
    seen, floats = [], []

    class Before:
        """Looks before the method does."""

        name = "look"

        def epoch_end(self, view, epoch):
            seen.append([quantized(kernel) for kernel in view.kernels])
            floats.append([variable.read() for variable in view.floats])

        def finish(self, view):
            pass

    training.hooks._methods = (Before(), *training.hooks._methods)
    states = {}

    def look(epoch):
        view = training.trainer.view
        states[epoch] = (
            [kernel.latent.read() for kernel in view.kernels],
            [kernel.state["step"].read() for kernel in view.kernels],
            [slot.read() for slot in view.slots],
            [variable.read() for variable in view.floats],
        )

    training.run(look=look)
    return seen, floats, states


@pytest.mark.parametrize("bits", [2, 3])
def test_the_average_of_the_captures_becomes_the_weights_and_is_quantized_anew(bits):
    seen, floats, states = captures_of(METHOD, UniformScheme(bits))
    # Epochs 0 to 2 are the cycles, the last one fine-tunes.
    latents, steps, slots, others = states[2]
    for place, (latent, step) in enumerate(zip(latents, steps, strict=True)):
        mean = np.mean([np.float64(capture[place]) for capture in seen[:3]], axis=0)
        np.testing.assert_allclose(latent, mean, rtol=2e-7, atol=0)
        np.testing.assert_array_equal(step, optimal_step(latent, bits))
        # 2n + 1 levels of one grid for each level of the quantizer.
        grid = latent * 3 / states[1][1][place]
        np.testing.assert_allclose(grid, np.round(grid), atol=1e-5)
    assert len(slots) > 0
    assert not any(slot.any() for slot in slots)
    trainable = [place for place, each in enumerate(others) if each.shape != (4,)]
    for place in trainable:
        mean = np.mean([np.float64(capture[place]) for capture in floats[:3]], axis=0)
        np.testing.assert_allclose(others[place], mean, rtol=1e-6, atol=1e-9)


def test_one_capture_is_given_back_bit_for_bit():
    method = Sqwa(captures=1, cycle_epochs=3, fine_tune_share=0.25)
    seen, _, states = captures_of(method)
    for latent, capture in zip(states[2][0], seen[2], strict=True):
        np.testing.assert_array_equal(latent, capture)
    for before, after in zip(states[1][1], states[2][1], strict=True):
        np.testing.assert_array_equal(before, after)


def test_captures_of_ternary_weights_vote():
    generator = np.random.default_rng(0)
    votes = generator.integers(-1, 2, (5, 40)).sum(axis=0)
    step = np.array([[0.3]], np.float32)
    again = np.round(averaged(votes, step, 5) / step[0] + np.sign(votes) * 1e-6)
    expected = np.where(np.abs(votes) >= 2.5, np.sign(votes), 0)
    np.testing.assert_array_equal(again.ravel(), expected)


def test_equal_captures_change_nothing():
    codes = np.array([-1, 0, 1, 1])
    step = np.float32(0.37)
    np.testing.assert_array_equal(averaged(7 * codes, step, 7), step * codes.astype(np.float32))


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_every_capture_is_taken_at_the_lowest_rate(steps):
    cycles = Sqwa(captures=4, cycle_epochs=2, low=0.02, fine_tune_share=0.2).cycles(15)
    rates = values(cycles, 15 * steps)
    assert cycles.captured == (5, 7, 9, 11)
    assert rates[: 4 * steps] == [1.0] * (4 * steps)
    for epoch in cycles.captured:
        slope = rates[(epoch - 1) * steps : (epoch + 1) * steps]
        j = np.arange(1, 2 * steps + 1) / (2 * steps)
        np.testing.assert_allclose(slope, (1 - j) + j * 0.02)
    fine = rates[12 * steps :]
    share = np.arange(3 * steps) / (3 * steps)
    np.testing.assert_allclose(fine, 0.1 * (1 + np.cos(np.pi * share)) / 2)


@pytest.mark.parametrize("behind", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_it_goes_on_to_the_bit(tmp_path, behind):
    whole = Training((METHOD,))
    whole.run()
    again = resumed(lambda: Training((METHOD,)), tmp_path, behind)
    assert_same(whole.weights(), again.weights())


@pytest.mark.slow
def test_steps_of_one_call_change_nothing():
    together = dataclasses.replace(FITTING, steps_per_execution=3)
    one, other = Training((METHOD,)), Training((METHOD,), fitting=together)
    one.run()
    other.run()
    for weight, same in zip(one.weights(), other.weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-5, atol=1e-6)


def test_too_few_epochs_and_a_grid_that_moves_are_refused():
    with pytest.raises(ValueError, match=r"must hold all cycles.*epochs=4"):
        Training((Sqwa(),))
    with pytest.raises(ValueError, match=r"on one grid.*LsqQuantizer"):
        Training((METHOD,), scheme=Scheme(LsqQuantizer(2)))
    with pytest.raises(ValueError, match="on one grid"):
        Training((METHOD,), scheme=UniformScheme(2, step_update="every_step"))


@pytest.mark.parametrize(
    "settings", [{"captures": 0}, {"low": 0.0}, {"fine_tune_share": 1.0}, {"cycle_epochs": 0}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="`sqwa"):
        Sqwa(**settings)


def test_names_of_weights_are_different():
    view = Training((METHOD,)).trainer.view
    names = [each.name for each in (*view.kernels, *view.floats)]
    assert len(set(names)) == len(names)
    assert len(network(1).get_weights()) == len(names)
