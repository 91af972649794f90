"""The teacher cache: a frozen teacher's logits for V views of every training image, kept on disk."""

import dataclasses
import functools
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.data.images import Split
from tfqkd.data.kept_logits import BYTES_PER_LOGIT, whole_logits, write_logits
from tfqkd.fronts import choose
from tfqkd.fronts.front import Front
from tfqkd.fronts.trainer import Logits
from tfqkd.progress import task_bar
from tfqkd.training.products import Products

_VIEW = "logits"


@dataclasses.dataclass(frozen=True, eq=False)
class TeacherCache:
    """A frozen teacher's float16 logits for V views of every image of a training split.

    A student that is trained on `batches` sees exactly the images that the logits belong to, under any
    temperature, coefficient and schedule, and the teacher is not asked in the training step. Each view is
    kept under a fingerprint of teacher, images, augmentation and view: caches of the same teacher share
    views, another teacher or augmentation has others. A build that is interrupted goes on where it stopped.

    Example:
        ```python
        cache = tfqkd.TeacherCache("cache", teacher, data.train, tfqkd.data.Augmentation(), views=16)
        distiller = tfqkd.Distiller(student=student, teacher=tfqkd.LOGITS_IN_BATCH, temperature=4.0)
        distiller.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
        batches = cache.batches(batch_size=128, seed=0, epochs=10)
        distiller.fit(batches, epochs=10, steps_per_epoch=len(batches) // 10)
        ```

    Attributes:
        directory: Where caches are kept; several teachers, data sets and processes may share it.
        teacher: What `as_teacher` takes: from uint8 images `[B, H, W, C]` to logits `[B, classes]`.
        split: The training images.
        augmentation: How they are varied.
        views: V ≥ 1, views of each image; epoch `e` of the student shows view `e` mod V.
        identity: What the teacher is, besides the split and the augmentation; by default the fingerprint of
            a Keras model's architecture and weights. Another callable needs one.
        limit_gb: The most that the V views may take, in 2^30 bytes.
        front: Asks the teacher.

    Raises:
        TypeError: If the augmentation is no `Augmentation`: mixup, cutout and the like draw again each time.
        ValueError: If `views` is below 1, or the teacher is no Keras model and has no `identity`.
    """

    directory: str | os.PathLike[str]
    teacher: object
    split: Split
    augmentation: Augmentation
    views: int
    identity: str | None = None
    limit_gb: float = 10.0
    front: Front = dataclasses.field(default_factory=choose)

    def __post_init__(self) -> None:
        if type(self.augmentation) is not Augmentation:
            raise TypeError(
                "A teacher cache holds crops and flips, which can be drawn again. "
                f"Received: augmentation={self.augmentation!r}. Pass a tfqkd.data.Augmentation, or ask a "
                "live teacher."
            )
        if self.views < 1:
            raise ValueError(
                f"`views` must be 1 or more. Received: views={self.views}. 16 is a good start."
            )
        if self.identity is None and not self.front.is_model(self.teacher):
            raise ValueError(
                "A teacher that is no tf_keras model needs `identity`, a string that names it and its "
                f"version. Received: {type(self.teacher)} without one."
            )

    @functools.cached_property
    def classes(self) -> int:
        """Number of the teacher's classes."""
        return self._view_logits(0, 0, 1).shape[1]

    @property
    def bytes(self) -> int:
        """What the views take on disk."""
        return cache_bytes(len(self.split), self.classes, self.views)

    def logits(self) -> list[Logits]:
        """Returns the logits of each view, built if they were not.

        Returns:
            V tensors, float16 `[len(split), classes]` in stored order; see `map_logits` of the front.

        Raises:
            ValueError: If they would take more than the limit or the disk has, or a file is damaged.
        """
        products = Products(pathlib.Path(self.directory))
        keys = [self._key(view) for view in range(self.views)]
        missing = [key for key in keys if not products.path(_VIEW, key).is_dir()]
        if missing:
            share = self.bytes * len(missing) // self.views
            begun = sum(products.begun(_VIEW, key) for key in missing)
            require_space(products.directory, self.bytes, max(share - begun, 0), self.limit_gb)
            print(
                f"Teacher cache: {len(missing)} of {self.views} views of {len(self.split):,} images to "
                f"build, {share / 2**20:,.1f} MiB, in {products.directory}",
                flush=True,
            )
        count, classes = len(self.split), self.classes

        def view_of(view: int, key: dict[str, object]) -> Logits:
            path = products.get(
                _VIEW, key, functools.partial(self._build, view), f"teacher's logits, view {view}"
            )
            return self.front.map_logits(whole_logits(path, count, classes), count, classes)

        return [view_of(view, key) for view, key in enumerate(keys)]

    def batches(
        self,
        *,
        batch_size: int,
        seed: int,
        epochs: int,
        first_epoch: int = 0,
        first_step: int = 0,
    ) -> Any:
        """Returns training batches `((images, logits), labels)`; see `tfqkd.tfmot.training_batches`."""
        return self.front.training_batches(
            self.split,
            batch_size=batch_size,
            classes=self.classes,
            seed=seed,
            augmentation=self.augmentation,
            epochs=epochs,
            first_epoch=first_epoch,
            first_step=first_step,
            fixed_views=self.views,
            teacher_logits=self.logits(),
        )

    @functools.cached_property
    def _identity(self) -> str:
        return self.identity or self.front.model_fingerprint(self.teacher)

    def _key(self, view: int) -> dict[str, object]:
        return {
            "teacher": self._identity,
            "images": self.split.images_fingerprint,
            "augmentation": dataclasses.asdict(self.augmentation),
            "seed": FIXED_VIEWS_SEED,
            "view": view,
        }

    def _build(self, view: int, partial: pathlib.Path) -> None:
        count = len(self.split)
        with task_bar(f"teacher logits, view {view + 1} of {self.views}", count) as progress:
            write_logits(
                partial,
                count,
                self.classes,
                lambda start, stop: self._view_logits(view, start, stop),
                progress,
            )

    @functools.cached_property
    def _view_logits(self) -> Callable[[int, int, int], np.ndarray]:
        return self.front.view_logits(self.teacher, self.split, self.augmentation)


def cache_bytes(count: int, classes: int, views: int) -> int:
    """Returns what the views of `count` images take on disk."""
    return count * classes * views * BYTES_PER_LOGIT


def require_space(directory: pathlib.Path, whole: int, missing: int, limit_gb: float) -> None:
    """Raises if a cache would break its limit, or fill the disk.

    Args:
        directory: Where it goes; it, or a directory above it, exists.
        whole: Bytes of all its views.
        missing: Bytes of those that are not there yet.
        limit_gb: The limit, in 2^30 bytes.

    Raises:
        ValueError: If `whole` is above the limit, or `missing` above what is free.
    """
    if whole > limit_gb * 2**30:
        raise ValueError(
            f"The teacher cache must take at most {limit_gb:g} GiB. Received: a cache of "
            f"{whole / 2**30:.2f} GiB. Take fewer views, or raise --teacher_cache_limit_gb."
        )
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise ValueError(
            f"The teacher cache needs {missing / 2**30:.2f} GiB more. Received: {directory}, with "
            f"{free / 2**30:.2f} GiB free. Take fewer views, or another --teacher_cache."
        )
