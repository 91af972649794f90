"""Where a run computes: what is refused, and that several devices train as one does."""

import dataclasses

import keras
import numpy as np
import pytest

from tests.fronts.keras3.inside import test_terms as terms
from tests.fronts.keras3.inside.nets import BACKEND
from tfqkd.data.images import Split
from tfqkd.fronts.keras3.front import CAPABILITIES
from tfqkd.fronts.keras3.replicas import copies
from tfqkd.fronts.keras3.strategy import OneDevice, make_strategy

several = pytest.mark.skipif(BACKEND == "torch", reason="Keras distributes on TensorFlow and JAX")


def test_processors_are_shared_only_where_it_is_asked_for():
    for strategy in ("auto", "one_device"):
        assert type(make_strategy(strategy, 63, jit_compile=True)) is OneDevice
    assert ("mirrored" in CAPABILITIES.strategies) is (BACKEND != "torch")
    assert "multi_worker" not in CAPABILITIES.strategies


@several
def test_what_devices_cannot_share_is_refused():
    with pytest.raises(
        ValueError, match=r"multiple of the number of devices.*on 2 devices. Use 64"
    ):
        make_strategy("mirrored", 63, jit_compile=False)
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match="several devices needs GPUs"):
            make_strategy("mirrored", 64, jit_compile=True)


@pytest.mark.slow
@several
@pytest.mark.parametrize("scan", terms.SCANS)
def test_two_devices_train_as_one(monkeypatch, scan):
    """Also where the last batch of a validation cannot be halved; batch norm over the whole batch."""
    train = terms.data().train
    odd = Split(train.images[:15], train.labels[:15])
    validated = dataclasses.replace(terms.data(), validation=odd)
    monkeypatch.setattr(terms, "data", lambda: validated)
    fitting = dataclasses.replace(terms.FITTING, synchronized_batch_norm=True, scan=scan)
    mirrored = make_strategy("mirrored", 8, jit_compile=False)
    found = []
    for where in (OneDevice(), mirrored):
        with where.scope():
            training = terms.Training(terms.HINTS, fitting=fitting)
            logs = training.run()
        found.append((training.weights(), logs))
        norm = training.student.get_layer("norm")
        held = copies(training.network, norm.moving_mean)
        assert len(held) == (2 if where is mirrored and BACKEND == "tensorflow" else 1)
        np.testing.assert_array_equal(held[0], held[-1])
        assert not norm.synchronized
    if BACKEND == "jax":
        assert keras.distribution.distribution() is None
    (weights, logs), (others, other_logs) = found
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-3, atol=1e-4)
    for epoch, same in zip(logs, other_logs, strict=True):
        assert same == pytest.approx(epoch, rel=1e-3, abs=1e-4)
        assert "val_loss" in same
