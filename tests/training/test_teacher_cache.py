"""The teacher cache on the NumPy front."""

import pathlib
import shutil

import numpy as np
import pytest

from tfqkd.core.views import NUMPY, draw_numbers
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import Split
from tfqkd.training.products import Products
from tfqkd.training.teacher_cache import TeacherCache, require_space

from . import numpy_front

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
        self.kernel, self.asked = kernel, 0

    def __call__(self, images):
        self.asked += len(images)
        return images.reshape(-1, 36).astype(np.float32) @ self.kernel


def cache(directory, teacher=None, **changes):
    arguments = {"split": SPLIT, "augmentation": AUGMENTATION, "views": 3, "identity": "linear"}
    arguments["front"] = numpy_front
    return TeacherCache(directory, teacher or Linear(), **{**arguments, **changes})


def shown(view, split=SPLIT):
    """The images of a view, cropped and mirrored in NumPy."""
    drawn = draw_numbers(0, view, np.arange(len(split)), AUGMENTATION.views, NUMPY).astype(int)
    views = [(d % 25 // 5, d % 5, d // 25) for d in drawn]
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
        np.testing.assert_allclose(kept, linear_logits(shown(view)), rtol=2**-10, atol=1e-4)


def test_another_cache_of_the_same_teacher_asks_for_what_is_missing_only(tmp_path):
    teacher = Linear()
    first = cache(tmp_path, views=2).logits()
    more = cache(tmp_path, teacher, views=4)
    assert more.classes == CLASSES
    teacher.asked = 0
    kept = more.logits()
    assert teacher.asked == 2 * COUNT
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
    teacher.asked = 0
    other.logits()
    assert teacher.asked == 3 * COUNT


def test_labels_do_not_matter_to_a_cache(tmp_path):
    cache(tmp_path).logits()
    teacher = Linear()
    relabelled = cache(tmp_path, teacher, split=Split(SPLIT.images, SPLIT.labels[::-1].copy()))
    assert relabelled.classes == CLASSES
    teacher.asked = 0
    relabelled.logits()
    assert teacher.asked == 0


def test_a_build_that_is_interrupted_goes_on_with_the_view_it_was_in(tmp_path):
    class Dying(Linear):
        def __call__(self, images):
            if self.asked > 2 * COUNT:
                raise OSError("the machine is off")
            return super().__call__(images)

    with pytest.raises(OSError, match="the machine is off"):
        cache(tmp_path, Dying()).logits()
    teacher = Linear()
    rest = cache(tmp_path, teacher)
    assert rest.classes == CLASSES
    teacher.asked = 0
    kept = rest.logits()
    assert teacher.asked == COUNT
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
            told.append(capsys.readouterr().out)
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
    teacher.asked = 0
    with pytest.raises(ValueError, match="at most 1e-07 GiB"):
        small.logits()
    assert teacher.asked == 0


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
