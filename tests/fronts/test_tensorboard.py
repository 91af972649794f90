"""TensorBoard's files that are written without TensorFlow, as TensorFlow reads them."""

import pytest

from tfqkd.compat import tf
from tfqkd.fronts.tensorboard import EpochScalars, EventFile


def scalars(folder):
    """The numbers of the only file in a folder: (tag, step, value)."""
    (file,) = folder.glob("events.out.tfevents.*")
    events = list(tf.compat.v1.train.summary_iterator(str(file)))
    assert events[0].file_version == "brain.Event:2"
    return [
        (value.tag, event.step, value.simple_value)
        for event in events[1:]
        for value in event.summary.value
    ]


def test_the_logs_of_epochs_have_the_names_that_keras_gives_them(tmp_path):
    watcher = EpochScalars(tmp_path)
    watcher.on_train_begin()
    watcher.on_epoch_end(0, {"loss": 2.0, "val_loss": 3.0, "learning_rate": 0.5})
    watcher.on_epoch_end(1, {"loss": 1.0, "val_loss": 2.5, "learning_rate": 0.25})
    train = [
        ("epoch_loss", 2.0, "epoch_learning_rate", 0.5),
        ("epoch_loss", 1.0, "epoch_learning_rate", 0.25),
    ]
    expected = [
        entry
        for step, (loss, a, rate, b) in enumerate(train)
        for entry in ((loss, step, a), (rate, step, b))
    ]
    # Each is on the disk at once: a training that is killed loses none.
    assert scalars(tmp_path / "train") == expected
    assert scalars(tmp_path / "validation") == [("epoch_loss", 0, 3.0), ("epoch_loss", 1, 2.5)]
    watcher.on_train_end()


def test_what_is_begun_again_gets_a_file_of_its_own(tmp_path):
    for value in (1.0, 2.0):
        file = EventFile(tmp_path)
        file.add_scalars({"accuracy": value}, 3)
        file.close()
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2


def test_a_training_without_validation_has_no_folder_for_it(tmp_path):
    EpochScalars(tmp_path).on_epoch_end(0, {"loss": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
    assert scalars(tmp_path / "train")[0] == pytest.approx(("epoch_loss", 0, 1.0))
