import errno
import hashlib
import json

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.training.checkpoints import Checkpoints, Position


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


def checkpoints(directory, model, kept=2, writes=True):
    return Checkpoints(directory, model, model, kept, writes)


def train(model, steps, seed):
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        labels = np.eye(4, dtype=np.float32)[generator.integers(0, 4, 8)]
        batch = generator.normal(size=(8, 3)).astype(np.float32)
        model.train_on_batch(batch, labels, reset_metrics=False)


def assert_same(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_without_a_checkpoint_nothing_was_finished(tmp_path):
    model = make(seed=0)
    weights = model.get_weights()
    found = checkpoints(tmp_path / "none", model)
    assert found.restore() == Position(0, 0)
    found.restore_metrics()
    assert_same(model.get_weights(), weights)
    assert not (tmp_path / "none").exists()


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


def test_the_last_ones_in_the_order_of_training_are_kept(tmp_path):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model, kept=3)
    positions = [Position(0, 7), Position(1, 0), Position(1, 30), Position(1, 200), Position(2, 0)]
    for number, position in enumerate(positions):
        model.layers[0].kernel.assign(tf.fill([3, 4], float(number)))
        writer.save(position)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch000001-step000000030",
        "epoch000001-step000000200",
        "epoch000002-step000000000",
    ]
    other = make(seed=9)
    assert checkpoints(tmp_path, other).restore() == Position(2, 0)
    np.testing.assert_array_equal(other.layers[0].kernel, np.full((3, 4), 4.0))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def name_a_device(path):
    """Its digest would be computed for ever."""
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({"sha256": {"/dev/zero": "0", **manifest["sha256"]}}))


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("state.data-00000-of-00001", flip, "state.data-00000-of-00001 is not what was written"),
        ("state.data-00000-of-00001", truncate, "is not what was written"),
        ("state.index", flip, "state.index is not what was written"),
        ("metrics.index", truncate, "metrics.index is not what was written"),
        ("metrics.data-00000-of-00001", lambda path: path.unlink(), "is not what was written"),
        ("metrics.index", replace_by_link, "metrics.index is not what was written"),
        ("checkpoint.json", lambda path: path.unlink(), "No such file"),
        ("checkpoint.json", truncate, "checkpoint.json: Expecting"),
        ("checkpoint.json", lambda path: path.write_text("{}"), "should hold is not in it"),
        ("checkpoint.json", lambda path: path.write_text('{"sha256": {}}'), "is not in it"),
        ("checkpoint.json", lambda path: path.write_text("[" * 10**5), "recursion"),
        ("checkpoint.json", lambda path: path.write_bytes(b"\xff"), "codec can't decode"),
        ("checkpoint.json", name_a_device, "/dev/zero is not what was written"),
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path, capsys, name, damage, said):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model)
    writer.save(Position(1, 0))
    good = model.get_weights()
    train(model, 1, seed=1)
    writer.save(Position(1, 5))
    path = tmp_path / "epoch000001-step000000005"
    if name == "checkpoint.json" and damage is truncate:
        (path / name).write_text(json.dumps(json.loads((path / name).read_text())))
    damage(path / name)

    other = make(seed=9)
    assert checkpoints(tmp_path, other).restore() == Position(1, 0)
    assert_same(other.get_weights(), good)
    out = capsys.readouterr().out
    assert f"The checkpoint {path} is damaged (" in out
    assert said in out
    # It must not stand in the way of those to come.
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch000001-step000000000"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_what_the_system_refuses_to_read_is_not_damaged(tmp_path, monkeypatch, number):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model)
    writer.save(Position(1, 0))
    writer.save(Position(2, 0))
    weights = model.get_weights()

    def refuse(*_):
        raise OSError(number, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", refuse)
        with pytest.raises(OSError, match="refused"):
            checkpoints(tmp_path, make(seed=1)).restore()
    other = make(seed=9)
    assert checkpoints(tmp_path, other).restore() == Position(2, 0)
    assert_same(other.get_weights(), weights)


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


@pytest.mark.parametrize("kind", ["other layers", "other shapes", "no checkpoint"])
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
    if kind == "no checkpoint":
        (path / "state.index").write_bytes(b"no index")
        manifest = json.loads((path / "checkpoint.json").read_text())
        manifest["sha256"]["state.index"] = hashlib.sha256(b"no index").hexdigest()
        (path / "checkpoint.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="of the training that goes on with it") as error:
        checkpoints(tmp_path, make(seed=0)).restore()
    assert f"Received: {path} (" in str(error.value)


def test_when_all_are_damaged_training_starts_anew(tmp_path, capsys):
    writer = checkpoints(tmp_path, make(seed=0))
    for step in (1, 2):
        writer.save(Position(0, step))
        flip(tmp_path / f"epoch000000-step{step:09}" / "state.index")
    assert checkpoints(tmp_path, make(seed=9)).restore() == Position(0, 0)
    assert capsys.readouterr().out.count("is damaged") == 2


def test_what_a_killed_process_left_half_written_is_neither_read_nor_kept(tmp_path):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model)
    writer.save(Position(3, 0))
    half = tmp_path / "epoch000004-step000000000.partial"
    half.mkdir()
    (half / "state.index").write_text("half")
    assert checkpoints(tmp_path, make(seed=1)).restore() == Position(3, 0)
    checkpoints(tmp_path, model).save(Position(4, 0))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch000003-step000000000",
        "epoch000004-step000000000",
    ]


def test_a_worker_that_is_not_the_chief_writes_nothing(tmp_path):
    checkpoints(tmp_path, make(seed=0)).save(Position(1, 2))
    worker = checkpoints(tmp_path, make(seed=0), writes=False)
    worker.save(Position(5, 0))
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch000001-step000000002"]
    flip(tmp_path / "epoch000001-step000000002" / "state.index")
    assert worker.restore() == Position(0, 0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch000001-step000000002"]


def test_a_position_reads_as_text():
    assert str(Position(3, 0)) == "epoch 3"
    assert str(Position(3, 17)) == "epoch 3 and 17 steps"
