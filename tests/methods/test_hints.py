import dataclasses

import numpy as np
import pytest

from methods.training_of import FITTING, Training, assert_same, data, network, resumed
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.taps import tapped
from tfqkd.methods.hints import Hints

METHOD = Hints(weight=2.0, falls=False, student_tap="late", teacher_tap="late")


def teacher():
    return network(9, filters=7)


def test_the_loss_is_the_squared_difference_of_the_adapted_map():
    still = dataclasses.replace(FITTING, epochs=1, steps=1, batch_size=24, learning_rate=0.0)
    training = Training((METHOD,), teacher=teacher(), fitting=still)
    (adapter,) = training.network.beside
    images = data().train.images
    shown = tapped(training.student, ["late"], "student")(images, training=True)[0]
    taught = tapped(training.teacher, ["late"], "teacher")(images, training=False)[0]
    kernel = np.float64(adapter.layers[1].kernel)[0, 0]
    maps = np.float64(shown) @ kernel
    # Batch norm by the batch, in NumPy; its weights are those of the start.
    normed = (maps - maps.mean((0, 1, 2))) / np.sqrt(maps.var((0, 1, 2)) + 1e-3)
    expected = np.mean((np.maximum(normed, 0) - np.float64(taught)) ** 2)
    logs = training.run().logs[0]
    assert logs["hint_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["hard_loss"] + 2 * logs["hint_loss"], rel=1e-5)


# Quick for all methods together in test_every_method.py.
@pytest.mark.slow
def test_the_adapter_trains_and_goes_on_to_the_bit(tmp_path):
    whole = Training((METHOD,), teacher=teacher())
    first = whole.network.beside[0].get_weights()
    whole.run()
    again = resumed(lambda: Training((METHOD,), teacher=teacher()), tmp_path, behind=1)
    assert_same(whole.weights(), again.weights())
    adapted = whole.network.beside[0].get_weights()
    assert_same(adapted, again.network.beside[0].get_weights())
    assert all((one != other).any() for one, other in zip(first[:1], adapted[:1], strict=True))


def test_by_default_the_middle_maps_are_paired():
    shown = [front.network(model, network) for model in (network(1), network(2, 5))]
    (term,) = Hints().terms(shown[0], shown[1:])
    assert (term.student_taps, term.teacher_taps) == (("late",), ("late",))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="maps of one height and width"):
        Training((Hints(student_tap="early", teacher_tap="late"),), teacher=teacher())
    with pytest.raises(ValueError, match=r"names of layers\. Received: absent"):
        Training((Hints(student_tap="absent", teacher_tap="late"),), teacher=teacher())
    with pytest.raises(ValueError, match="go together"):
        Hints(student_tap="late")
    with pytest.raises(ValueError, match="method hints needs one live teacher"):
        Training((Hints(),))
