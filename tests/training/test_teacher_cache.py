import pathlib
import shutil

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.data.augmentation import Augmentation, draw_views
from tfqkd.data.images import Split
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.models import build
from tfqkd.training.products import Products
from tfqkd.training.teacher_cache import TeacherCache, model_fingerprint, require_space

COUNT, CLASSES = 37, 4
AUGMENTATION = Augmentation(padding=2)
generator = np.random.default_rng(0)
SPLIT = Split(
    generator.integers(0, 256, (COUNT, 6, 6, 1), dtype=np.uint8), np.arange(COUNT) % CLASSES
)
KERNEL = generator.normal(0, 0.01, (36, CLASSES)).astype(np.float32)


class Linear:
    """A teacher known in closed form, which counts the images that it is asked about."""

    def __init__(self, kernel=KERNEL):
        self.kernel, self.asked = kernel, tf.Variable(0)

    def __call__(self, images):
        self.asked.assign_add(tf.shape(images)[0])
        return tf.reshape(tf.cast(images, tf.float32), [-1, 36]) @ self.kernel


def cache(directory, teacher=None, **changes):
    arguments = {"split": SPLIT, "augmentation": AUGMENTATION, "views": 3, "identity": "linear"}
    return TeacherCache(directory, teacher or Linear(), **{**arguments, **changes})


def shown(view, split=SPLIT):
    """The images of a view, cropped and mirrored in NumPy."""
    views = draw_views(len(split), 0, view, AUGMENTATION).numpy()
    padded = np.pad(split.images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    cropped = [image[y : y + 6, x : x + 6] for image, (y, x, _) in zip(padded, views, strict=True)]
    return np.stack(
        [
            image[:, ::-1] if flip else image
            for image, (_, _, flip) in zip(cropped, views, strict=True)
        ]
    )


def linear_logits(images):
    return images.reshape(len(images), 36).astype(np.float64) @ KERNEL


def test_kept_logits_are_those_of_each_view_within_float16(tmp_path):
    for view, kept in enumerate(cache(tmp_path).logits()):
        np.testing.assert_allclose(kept.numpy(), linear_logits(shown(view)), rtol=2**-10, atol=1e-4)


def test_batches_show_the_very_images_that_the_logits_belong_to(tmp_path):
    batches = cache(tmp_path).batches(batch_size=8, seed=5, epochs=4)
    assert len(batches) == 16
    for (images, logits), labels in batches:
        np.testing.assert_allclose(logits, linear_logits(images.numpy()), rtol=2**-10, atol=1e-4)
        assert labels.shape == (8, CLASSES)
    # Views repeat with the period V, orders do not.
    seen = [
        np.concatenate([x.numpy() for (x, _), _ in batches.skip(4 * e).take(4)]) for e in range(4)
    ]
    assert not np.array_equal(seen[0], seen[3])
    for view, images in ((0, seen[0]), (1, seen[1]), (0, seen[3])):
        of_view = {image.tobytes() for image in shown(view)}
        assert {image.tobytes() for image in images} <= of_view


def test_another_cache_of_the_same_teacher_asks_for_what_is_missing_only(tmp_path):
    teacher = Linear()
    first = cache(tmp_path, views=2).logits()
    more = cache(tmp_path, teacher, views=4)
    assert more.classes == CLASSES
    teacher.asked.assign(0)
    kept = more.logits()
    assert teacher.asked.numpy() == 2 * COUNT
    np.testing.assert_array_equal(kept[1], first[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": "another teacher"},
        {"augmentation": Augmentation(padding=1)},
        {"augmentation": Augmentation(padding=2, flip=False)},
        {"split": Split(SPLIT.images[::-1].copy(), SPLIT.labels)},
    ],
    ids=["teacher", "padding", "flip", "images"],
)
def test_what_depends_on_something_else_is_not_shared(tmp_path, changes):
    cache(tmp_path).logits()
    teacher = Linear(2 * KERNEL)
    other = cache(tmp_path, teacher, **changes)
    assert other.classes == CLASSES
    teacher.asked.assign(0)
    other.logits()
    assert teacher.asked.numpy() == 3 * COUNT


def test_labels_do_not_matter_to_a_cache(tmp_path):
    cache(tmp_path).logits()
    teacher = Linear()
    relabelled = cache(tmp_path, teacher, split=Split(SPLIT.images, SPLIT.labels[::-1].copy()))
    assert relabelled.classes == CLASSES
    teacher.asked.assign(0)
    relabelled.logits()
    assert teacher.asked.numpy() == 0


def test_a_build_that_is_interrupted_goes_on_with_the_view_it_was_in(tmp_path):
    class Dying(Linear):
        def __call__(self, images):
            limit = tf.debugging.assert_less(self.asked, 1 + 2 * COUNT, "the machine is off")
            with tf.control_dependencies([limit]):
                return super().__call__(images)

    with pytest.raises(tf.errors.InvalidArgumentError, match="the machine is off"):
        cache(tmp_path, Dying()).logits()
    teacher = Linear()
    rest = cache(tmp_path, teacher)
    assert rest.classes == CLASSES
    teacher.asked.assign(0)
    kept = rest.logits()
    assert teacher.asked.numpy() == COUNT
    np.testing.assert_allclose(kept[2], linear_logits(shown(2)), rtol=2**-10, atol=1e-4)


def test_what_is_begun_needs_no_room_again(tmp_path, monkeypatch):
    """The size of what is missing is told first, and compared with what is free."""
    size = COUNT * CLASSES * 2
    free = shutil.disk_usage(tmp_path)
    first = cache(tmp_path, views=1)
    (partial := first_view(first)).mkdir()
    (partial / "logits.f16").write_bytes(bytes(size // 2))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=size // 2))
    first.logits()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=size - 1))
    with pytest.raises(ValueError, match="GiB more"):
        cache(tmp_path, views=2).logits()


def first_view(kept):
    path = Products(pathlib.Path(kept.directory)).path("logits", kept._key(0))
    return path.with_name(path.name + ".partial")


def test_the_size_is_told_before_the_teacher_is_asked_for_it(tmp_path, capsys):
    told = []

    class Listening(Linear):
        def __call__(self, images):
            tf.py_function(lambda: told.append(capsys.readouterr().out), [], [])
            return super().__call__(images)

    kept = cache(tmp_path, Listening())
    assert kept.classes == CLASSES
    told.clear()
    kept.logits()
    assert "3 of 3 views of 37 images to build, 0.0 MiB, in " in told[0]


def test_views_of_another_seed_are_others(tmp_path, monkeypatch):
    cache(tmp_path, views=1).logits()
    monkeypatch.setattr("tfqkd.training.teacher_cache.FIXED_VIEWS_SEED", 1)
    cache(tmp_path, views=1).logits()
    assert len(list(tmp_path.glob("logits-*/logits.f16"))) == 2


def test_a_convolutional_teacher_with_batch_norm_says_the_same_live(tmp_path):
    keras.utils.set_random_seed(0)
    teacher = build("cnn2", (6, 6, 1), CLASSES)
    for layer in teacher.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(tf.random.normal(layer.moving_mean.shape))
            layer.moving_variance.assign(tf.random.uniform(layer.moving_variance.shape, 0.5, 2))
    for view, kept in enumerate(cache(tmp_path, teacher, identity=None).logits()):
        live = teacher(shown(view), training=False)
        np.testing.assert_allclose(kept.numpy(), live, rtol=2**-10, atol=1e-4)


def test_a_damaged_view_is_named_not_used(tmp_path):
    cache(tmp_path, views=1).logits()
    (file,) = tmp_path.glob("logits-*/logits.f16")
    data = bytearray(file.read_bytes())
    data[5] ^= 64
    file.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"logits\.f16.*Delete"):
        cache(tmp_path, views=1).logits()


def test_a_size_above_the_limit_is_refused_before_the_teacher_is_asked(tmp_path):
    teacher = Linear()
    small = cache(tmp_path, teacher, limit_gb=1e-7)
    assert small.bytes == 3 * COUNT * CLASSES * 2
    teacher.asked.assign(0)
    with pytest.raises(ValueError, match="at most 1e-07 GiB"):
        small.logits()
    assert teacher.asked.numpy() == 0


def test_a_cache_larger_than_the_disk_is_refused(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(ValueError, match="GiB free"):
        require_space(tmp_path / "not" / "made", 0, 2 * free, 10.0)
    require_space(tmp_path / "not" / "made", 0, free // 2, 10.0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"augmentation": "mixup"}, TypeError, "live teacher"),
        ({"augmentation": type("Cutout", (Augmentation,), {})()}, TypeError, "live teacher"),
        ({"views": 0}, ValueError, "views=0"),
        ({"identity": None}, ValueError, "identity"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        cache(tmp_path, **changes)


def dense(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )


def test_a_keras_teacher_is_known_by_its_weights():
    model = dense(0)
    before = model_fingerprint(model)
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    assert model_fingerprint(twin) == before
    weights = model.get_weights()
    weights[1][2] = np.nextafter(np.float32(0), np.float32(1))
    model.set_weights(weights)
    assert model_fingerprint(model) != before


def trained(teacher, batches):
    student = dense(1)
    distiller = Distiller(student=student, teacher=teacher, temperature=3.0, coefficient=0.7)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(1e-4), loss, ["accuracy"])
    history = distiller.fit(batches, epochs=2, steps_per_epoch=4, verbose=0).history
    return student.get_weights(), history


def test_training_on_kept_logits_gives_what_a_live_teacher_gives(tmp_path):
    """The teacher's weights are such that float16 holds its logits exactly: all else must agree."""
    teacher = dense(2)
    exact = np.random.default_rng(1).integers(-1, 2, (36, CLASSES)).astype(np.float32) / 16
    teacher.set_weights([exact * (np.arange(36) % 9 == 0)[:, None], np.zeros(CLASSES, np.float32)])
    kept = cache(tmp_path, teacher, identity=None).batches(batch_size=8, seed=5, epochs=2)
    weights, history = trained(LOGITS_IN_BATCH, kept)
    live = kept.map(lambda x, y: (x[0], y))
    expected, expected_history = trained(teacher, live)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    for name in ("loss", "soft_loss", "hard_loss", "agreement", "accuracy"):
        np.testing.assert_allclose(history[name], expected_history[name], rtol=1e-4)


def test_batches_without_logits_are_refused():
    batches = tf.data.Dataset.from_tensors((SPLIT.images[:8], np.eye(CLASSES)[SPLIT.labels[:8]]))
    with pytest.raises(ValueError, match="TeacherCache"):
        trained(LOGITS_IN_BATCH, batches.repeat(8))
