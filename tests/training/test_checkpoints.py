import errno
import pathlib
import types

import numpy as np
import pytest

from tfqkd.fronts.trainer import ForeignStateError, Position
from tfqkd.training.checkpoints import Checkpoints

from . import numpy_front


def make(seed):
    """What trains a regression of random weights."""
    numpy_front.start(seed, "float32")
    model = numpy_front.build("cnn2", (3, 1, 1), 4, mean=[0], std=[1])
    return numpy_front.trainer(model, types.SimpleNamespace(title="", steps=0), None)


def checkpoints(directory, trainer, kept=2, writes=True):
    return Checkpoints(directory, trainer, kept, writes)


def assert_same(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_without_a_checkpoint_nothing_was_finished(tmp_path):
    model = make(seed=0)
    weights = model._model.weights()
    found = checkpoints(tmp_path / "none", model)
    assert found.restore() == Position(0, 0)
    found.restore_metrics()
    assert_same(model._model.weights(), weights)
    assert not (tmp_path / "none").exists()


def test_the_last_ones_in_the_order_of_training_are_kept(tmp_path):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model, kept=3)
    positions = [Position(0, 7), Position(1, 0), Position(1, 30), Position(1, 200), Position(2, 0)]
    for number, position in enumerate(positions):
        model._model.kernel = np.full((3, 4), number, np.float32)
        writer.save(position)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch000001-step000000030",
        "epoch000001-step000000200",
        "epoch000002-step000000000",
    ]
    other = make(seed=9)
    assert checkpoints(tmp_path, other).restore() == Position(2, 0)
    np.testing.assert_array_equal(other._model.kernel, np.full((3, 4), 4.0))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("state.npz", flip, "state.npz is not what was written"),
        ("state.npz", truncate, "is not what was written"),
        ("state.npz", lambda path: path.unlink(), "is not what was written"),
        ("averages.npz", truncate, "averages.npz is not what was written"),
        ("averages.npz", lambda path: path.unlink(), "is not what was written"),
        ("averages.npz", replace_by_link, "averages.npz is no file"),
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path, capsys, name, damage, said):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model)
    writer.save(Position(1, 0))
    good = model._model.weights()
    model._model.kernel = model._model.kernel + 1
    writer.save(Position(1, 5))
    path = tmp_path / "epoch000001-step000000005"
    damage(path / name)

    other = make(seed=9)
    assert checkpoints(tmp_path, other).restore() == Position(1, 0)
    assert_same(other._model.weights(), good)
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
    weights = model._model.weights()

    def refuse(*_):
        raise OSError(number, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "open", refuse)
        with pytest.raises(OSError, match="refused"):
            checkpoints(tmp_path, make(seed=1)).restore()
    other = make(seed=9)
    assert checkpoints(tmp_path, other).restore() == Position(2, 0)
    assert_same(other._model.weights(), weights)


def test_a_whole_one_of_another_training_is_refused(tmp_path):
    checkpoints(tmp_path, make(seed=0)).save(Position(1, 0))
    other = make(seed=0)
    other.read_state = foreign
    path = tmp_path / "epoch000001-step000000000"
    with pytest.raises(ValueError, match="to the training that resumes from it") as error:
        checkpoints(tmp_path, other).restore()
    assert f"Received: {path} (other layers). Remove {tmp_path};" in str(error.value)


def foreign(directory):
    raise ForeignStateError("other layers")


def test_when_all_are_damaged_training_starts_anew(tmp_path, capsys):
    writer = checkpoints(tmp_path, make(seed=0))
    for step in (1, 2):
        writer.save(Position(0, step))
        flip(tmp_path / f"epoch000000-step{step:09}" / "state.npz")
    assert checkpoints(tmp_path, make(seed=9)).restore() == Position(0, 0)
    assert capsys.readouterr().out.count("is damaged") == 2


def test_what_a_killed_process_left_half_written_is_neither_read_nor_kept(tmp_path):
    model = make(seed=0)
    writer = checkpoints(tmp_path, model)
    writer.save(Position(3, 0))
    half = tmp_path / "epoch000004-step000000000.partial"
    half.mkdir()
    (half / "state.npz").write_text("half")
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
    flip(tmp_path / "epoch000001-step000000002" / "state.npz")
    assert worker.restore() == Position(0, 0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch000001-step000000002"]


def test_a_position_reads_as_text():
    assert str(Position(3, 0)) == "epoch 3"
    assert str(Position(3, 17)) == "epoch 3 and 17 steps"
