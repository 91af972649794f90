import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.state import State
from tfqkd.fronts.trainer import Position
from tfqkd.training.checkpoints import Checkpoints


def make(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


class Trainer:
    """A trainer as far as its state goes."""

    def __init__(self, model):
        state = State(model, model)
        self.write_state, self.read_state = state.write, state.read
        self.write_averages, self.read_averages = state.write_averages, state.read_averages
        self.damage = state.damage


def checkpoints(directory, model, kept=2, writes=True):
    return Checkpoints(directory, Trainer(model), kept, writes)


def train(model, steps, seed):
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        labels = np.eye(4, dtype=np.float32)[generator.integers(0, 4, 8)]
        batch = generator.normal(size=(8, 3)).astype(np.float32)
        model.train_on_batch(batch, labels, reset_metrics=False)


def assert_same(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_weights_momenta_steps_and_averages_come_back(tmp_path):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model)
    train(model, 3, seed=1)
    writer.save(Position(6, 3))
    saved, averages = model.get_weights(), model.get_metrics_result()
    train(model, 2, seed=2)

    other = make(seed=9)
    reader = checkpoints(tmp_path, other)
    assert reader.restore() == Position(6, 3)
    assert_same(other.get_weights(), saved)
    assert int(other.optimizer.iterations) == 3
    # `fit` resets the averages at the start of the epoch.
    other.reset_metrics()
    reader.restore_metrics()
    assert set(averages) == {"loss", "accuracy"}
    for name, value in other.get_metrics_result().items():
        assert float(value) == float(averages[name])
    # Momenta and sums show in how it goes on.
    train(other, 2, seed=2)
    assert_same(other.get_weights(), model.get_weights())
    for name, value in other.get_metrics_result().items():
        assert float(value) == float(model.get_metrics_result()[name])


@pytest.mark.parametrize("error", [tf.errors.ResourceExhaustedError, tf.errors.UnavailableError])
def test_what_memory_or_a_worker_refuses_is_no_fault_of_the_checkpoint(
    tmp_path, monkeypatch, error
):
    checkpoints(tmp_path, make(seed=0)).save(Position(1, 0))

    def refuse(*_):
        raise error(None, None, "refused")

    monkeypatch.setattr(tf.train.Checkpoint, "read", refuse)
    with pytest.raises(error, match="refused"):
        checkpoints(tmp_path, make(seed=1)).restore()


@pytest.mark.parametrize("kind", ["other layers", "other shapes"])
def test_a_whole_one_of_another_training_is_refused(tmp_path, kind):
    units = 5 if kind == "other shapes" else 4
    layers = [keras.layers.Dense(units), keras.layers.BatchNormalization()]
    if kind == "other layers":
        layers = layers[:1]
    other = keras.Sequential([keras.Input((3,)), *layers])
    other.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    checkpoints(tmp_path, other).save(Position(1, 0))
    path = tmp_path / "epoch000001-step000000000"
    with pytest.raises(ValueError, match="to the training that resumes from it") as error:
        checkpoints(tmp_path, make(seed=0)).restore()
    assert f"Received: {path} (" in str(error.value)


@pytest.mark.parametrize("file", ["state", "metrics"])
@pytest.mark.parametrize("part", [".index", ".data-00000-of-00001"])
def test_no_bit_of_a_checkpoint_changes_without_notice(tmp_path, file, part):
    model = make(seed=0)
    state = State(model, model)
    state.write(tmp_path)
    state.write_averages(tmp_path)
    assert state.damage(tmp_path, has_averages=True) == ""
    path = tmp_path / f"{file}{part}"
    whole = path.read_bytes()
    changed = 0
    # The index ends in padding that holds nothing.
    for place in range(0, len(whole) - 90 * (part == ".index"), 11):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        assert state.damage(tmp_path, has_averages=True).startswith(f"{file} is not what"), place
        changed += 1
    assert changed > 20
    for torn in (whole[:-1], whole[: len(whole) // 2], whole[: len(whole) // 2] + bytes(99), b""):
        path.write_bytes(torn)
        assert state.damage(tmp_path, has_averages=True)
    path.unlink()
    assert state.damage(tmp_path, has_averages=True)
    assert (state.damage(tmp_path, has_averages=False) == "") == (file == "metrics")
