import numpy as np
import pytest

from tfqkd.compat import tf
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import steps_per_epoch
from tfqkd.data.images import Split
from tfqkd.fronts.tfmot.augmenting import augment, draw_views
from tfqkd.fronts.tfmot.batches import evaluation_batches, training_batches

COUNT, CLASSES = 23, 4


@pytest.fixture(scope="module")
def split():
    """Images whose middle pixel tells their row, on random surroundings."""
    images = np.random.default_rng(0).integers(1, 256, (COUNT, 3, 3, 2), dtype=np.uint8)
    images[:, 1, 1, 0] = np.arange(COUNT)
    return Split(images, np.arange(COUNT) % CLASSES)


def batches(split, **changes):
    arguments = {
        "batch_size": 5,
        "classes": CLASSES,
        "seed": 11,
        "augmentation": Augmentation.NONE,
        "epochs": 3,
    }
    return training_batches(split, **{**arguments, **changes})


def collect(dataset):
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


def rows_of(stream):
    return [images[:, 1, 1, 0].tolist() for images, _ in stream]


def assert_same(stream, other):
    assert len(stream) == len(other)
    for batch, other_batch in zip(stream, other, strict=True):
        np.testing.assert_array_equal(batch[0], other_batch[0])
        np.testing.assert_array_equal(batch[1], other_batch[1])


def test_each_epoch_shows_images_once_in_full_batches_and_a_new_order(split):
    rows = rows_of(collect(batches(split)))
    assert [len(batch) for batch in rows] == [5] * 12
    epochs = np.reshape(rows, (3, 20)).tolist()
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != sorted(epochs[0])
    assert set().union(*epochs) == set(range(COUNT))


def test_batches_hold_the_images_with_their_one_hot_labels(split):
    for images, labels in collect(batches(split)):
        rows = images[:, 1, 1, 0]
        np.testing.assert_array_equal(images, split.images[rows])
        np.testing.assert_array_equal(labels, np.eye(CLASSES)[split.labels[rows]])


def test_batches_are_static_uint8_and_float32(split):
    dataset = batches(split, augmentation=Augmentation())
    assert dataset.element_spec == (
        tf.TensorSpec([5, 3, 3, 2], tf.uint8),
        tf.TensorSpec([5, CLASSES], tf.float32),
    )
    assert dataset.cardinality() == 12


def test_epoch_e_shows_the_views_of_table_e(split):
    augmentation = Augmentation(padding=1)
    plain = collect(batches(split))  # The order hangs on seed and epoch alone.
    varied = collect(batches(split, augmentation=augmentation))
    for step, ((images, labels), (seen, seen_labels)) in enumerate(zip(plain, varied, strict=True)):
        views = draw_views(COUNT, 11, step // 4, augmentation).numpy()[images[:, 1, 1, 0]]
        np.testing.assert_array_equal(seen, augment(images, views, 1))
        np.testing.assert_array_equal(seen_labels, labels)


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 3), (1, 0), (1, 2), (2, 3)])
def test_resumed_stream_goes_on_as_the_uninterrupted_one(split, epoch, step):
    augmentation = Augmentation(padding=1)
    whole = collect(batches(split, augmentation=augmentation))
    resumed = batches(split, augmentation=augmentation, first_epoch=epoch, first_step=step)
    assert resumed.cardinality() == 12 - 4 * epoch - step
    assert_same(collect(resumed), whole[4 * epoch + step :])


def test_a_longer_training_begins_with_the_same_batches(split):
    assert_same(collect(batches(split, epochs=5))[:12], collect(batches(split, epochs=3)))


def test_the_seed_changes_the_order(split):
    assert_same(collect(batches(split)), collect(batches(split)))
    assert rows_of(collect(batches(split))) != rows_of(collect(batches(split, seed=12)))


def test_order_and_views_are_not_tied_to_each_other():
    # A shuffle takes its first pick, and a table its first view, as the first random bits modulo
    # the number of choices. With 162 of both they would agree in every epoch, had they one seed.
    count, epochs = 162, 200
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    split = Split(images, np.zeros(count, np.int64))
    first = [
        pixels[0].item() for pixels, _ in collect(batches(split, batch_size=count, epochs=epochs))
    ]
    tables = [draw_views(count, 11, epoch, Augmentation()).numpy() for epoch in range(epochs)]
    drawn = [flip * 81 + dy * 9 + dx for dy, dx, flip in (table[0] for table in tables)]
    assert sum(np.equal(first, drawn)) < 10


def test_every_position_is_equally_likely():
    split = Split(np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1), np.zeros(4, np.int64))
    first = [images[0, 0, 0, 0] for images, _ in collect(batches(split, batch_size=4, epochs=2000))]
    assert (abs(np.bincount(first) - 500) < 4 * (2000 * 3 / 16) ** 0.5).all()


def test_evaluation_shows_everything_in_order(split):
    stream = collect(evaluation_batches(split, batch_size=10, classes=CLASSES))
    assert [len(images) for images, _ in stream] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in stream]), split.images)
    np.testing.assert_array_equal(
        np.concatenate([labels for _, labels in stream]), np.eye(CLASSES)[split.labels]
    )


def test_evaluation_batch_may_be_larger_than_the_split(split):
    ((images, _),) = collect(evaluation_batches(split, batch_size=100, classes=CLASSES))
    np.testing.assert_array_equal(images, split.images)


def test_each_worker_takes_its_share_of_every_batch(split):
    policy = tf.data.experimental.AutoShardPolicy.DATA
    for dataset in (batches(split), evaluation_batches(split, batch_size=5, classes=CLASSES)):
        assert dataset.options().experimental_distribute.auto_shard_policy == policy
        assert dataset.options().deterministic


@pytest.mark.parametrize(("batch_size", "expected"), [(1, 23), (5, 4), (12, 1), (23, 1)])
def test_steps_are_full_batches(split, batch_size, expected):
    assert steps_per_epoch(split, batch_size) == expected


@pytest.mark.parametrize("batch_size", [0, -1, 24])
def test_batch_size_outside_of_the_split_is_refused(split, batch_size):
    with pytest.raises(ValueError, match=f"`batch_size` must be 1 to 23.*batch_size={batch_size}"):
        steps_per_epoch(split, batch_size)


def test_evaluation_batch_size_below_one_is_refused(split):
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        evaluation_batches(split, batch_size=0, classes=CLASSES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 2**32),
        ("epochs", 0),
        ("first_epoch", 3),
        ("first_epoch", -1),
        ("first_step", 4),
        ("first_step", -1),
    ],
)
def test_stream_arguments_out_of_range_are_refused(split, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}={value} "):
        batches(split, **{name: value})
