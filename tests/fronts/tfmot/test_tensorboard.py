import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.tensorboard import EpochLogs


def test_values_are_written_once_an_epoch_and_no_summary_is_made_in_a_step(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    original, made = tf.summary.scalar, []

    def scalar(name, *arguments, **options):
        made.append(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(tf.summary, "scalar", scalar)
    data = np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)
    logs = EpochLogs(tmp_path, write_graph=False)
    history = model.fit(*data, batch_size=2, epochs=3, verbose=0, callbacks=[logs]).history
    assert not [name for name in made if name.startswith("batch_")]
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    values = [
        float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.tag == "epoch_loss"
    ]
    assert values == pytest.approx(history["loss"])
