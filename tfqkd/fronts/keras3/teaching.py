"""Teachers of a run: asked once and kept, or live in the step."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.core import ops
from tfqkd.core.teachers import Ensemble
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.data.images import Split
from tfqkd.data.pictures import Pictures
from tfqkd.data.varied import varied_images
from tfqkd.fronts.foreign import ForeignTeacher
from tfqkd.fronts.keras3.distiller import Distiller
from tfqkd.fronts.keras3.model import quantized_activations
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.taps import between, layers_of
from tfqkd.fronts.keras_model import predicted
from tfqkd.fronts.settings import Distillation
from tfqkd.fronts.teaching import taught_by
from tfqkd.fronts.terms import Network, Term


def taught(
    student: keras.Model,
    teachers: Sequence[keras.Model],
    kept: bool,
    distillation: Distillation | None,
    terms: Sequence[Term] = (),
) -> Distiller:
    """Returns a distiller; see `tfqkd.fronts.front.Front.taught`."""
    return Distiller(student=student, terms=terms, **taught_by(teachers, kept, distillation))


def network(model: keras.Model, build: Callable[[str | None, int], keras.Model]) -> Network:
    """Returns a model as a method sees it when it makes its terms."""
    widths = tuple(each.quantizer.bits for each in quantized_activations(model))
    return Network(
        model.name,
        layers_of(model),
        build,
        OPS,
        keras,
        activation_bits=widths,
        between=functools.partial(between, model),
    )


def view_logits(
    teacher: object, split: Split, augmentation: Augmentation
) -> Callable[[int, int, int], np.ndarray]:
    """Returns a teacher's logits as a function of (view, first image, image behind the last)."""

    def logits_of(view: int, start: int, stop: int) -> np.ndarray:
        rows = np.arange(start, stop)
        images = varied_images(split.images, rows, FIXED_VIEWS_SEED, view, augmentation)
        return _said(teacher, images)

    return logits_of


def _said(teacher: Any, images: np.ndarray) -> np.ndarray:
    if isinstance(teacher, Ensemble):
        return teacher.combined([_said(each, images) for each in teacher.teachers], ops.NUMPY)
    return logits(teacher, images)


def map_logits(file: pathlib.Path, count: int, classes: int) -> np.ndarray:
    """Maps kept logits into memory."""
    return np.memmap(file, np.float16, mode="r", shape=(count, classes))


def logits(model: Any, images: np.ndarray | Pictures) -> np.ndarray:
    """Returns the logits of a model, or of a foreign teacher, for raw images, float32 `[N, classes]`."""
    if isinstance(model, ForeignTeacher):
        return model.logits(images)
    return predicted(model, images)
