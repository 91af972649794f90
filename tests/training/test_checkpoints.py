import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.training.checkpoints import EpochCheckpoint


def make(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )
    return model, keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)


def train(model, optimizer, steps, seed):
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        batch = tf.constant(generator.normal(size=(8, 3)), tf.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(batch, training=True) - 1) ** 2)
        optimizer.minimize(loss, model.trainable_variables, tape=tape)


def test_without_a_checkpoint_nothing_was_finished(tmp_path):
    model, optimizer = make(seed=0)
    weights = model.get_weights()
    assert EpochCheckpoint(tmp_path, model, optimizer).restore() == 0
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_weights_momenta_and_steps_come_back(tmp_path):
    model, optimizer = make(seed=0)
    checkpoint = EpochCheckpoint(tmp_path, model, optimizer)
    train(model, optimizer, 3, seed=1)
    checkpoint.on_epoch_end(6)
    saved = model.get_weights()
    train(model, optimizer, 2, seed=2)
    expected = model.get_weights()

    other, its_optimizer = make(seed=9)
    assert EpochCheckpoint(tmp_path, other, its_optimizer).restore() == 7
    for weight, there in zip(other.get_weights(), saved, strict=True):
        np.testing.assert_array_equal(weight, there)
    assert int(its_optimizer.iterations) == 3
    # Momenta show in how it goes on.
    train(other, its_optimizer, 2, seed=2)
    for weight, there in zip(other.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, there)


def test_the_last_checkpoint_counts_and_only_two_are_kept(tmp_path):
    model, optimizer = make(seed=0)
    checkpoint = EpochCheckpoint(tmp_path, model, optimizer)
    for epoch in range(5):
        model.layers[0].kernel.assign(tf.fill([3, 4], float(epoch)))
        checkpoint.on_epoch_end(epoch)
    assert len(list(tmp_path.glob("*.index"))) == 2
    other, its_optimizer = make(seed=9)
    assert EpochCheckpoint(tmp_path, other, its_optimizer).restore() == 5
    np.testing.assert_array_equal(other.layers[0].kernel, np.full((3, 4), 4.0))
