import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import Split
from tfqkd.fronts.tfmot.augmenting import draw_views
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.front import model_fingerprint
from tfqkd.models import build
from tfqkd.training.teacher_cache import TeacherCache

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
