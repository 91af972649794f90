"""Teachers of a run: asked once and kept, or live in the step."""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.data.images import Split
from tfqkd.data.varied import varied_images
from tfqkd.fronts.settings import Distillation
from tfqkd.fronts.teaching import taught_by
from tfqkd.fronts.terms import Network, Term
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.model import quantized_activations
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.taps import between, layers_of
from tfqkd.fronts.tfmot.teachers import as_teacher

_BATCH = 256


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
    part = functools.partial(between, model)
    return Network(
        model.name,
        layers_of(model),
        build,
        OPS,
        keras,
        activation_bits=widths,
        between=part,
    )


def view_logits(
    teacher: object, split: Split, augmentation: Augmentation
) -> Callable[[int, int, int], np.ndarray]:
    """Returns a teacher's logits as a function of (view, first image, image behind the last)."""
    serve = tf.function(as_teacher(teacher), reduce_retracing=True)

    def logits_of(view: int, start: int, stop: int) -> np.ndarray:
        parts = [np.arange(at, min(at + _BATCH, stop)) for at in range(start, stop, _BATCH)]
        said = [
            serve(
                tf.constant(varied_images(split.images, rows, FIXED_VIEWS_SEED, view, augmentation))
            )
            for rows in parts
        ]
        return tf.concat(said, axis=0).numpy()

    return logits_of


def map_logits(file: pathlib.Path, count: int, classes: int) -> tf.Tensor:
    """Maps kept logits into memory.

    Returns:
        float16 `[count, classes]` on the CPU. From 10 MiB on it is mapped from the file: pages are read when
        they are asked for, and the system may drop them again. TensorFlow copies what is smaller.
    """
    with tf.device("/CPU:0"):
        return tf.raw_ops.ImmutableConst(
            dtype=tf.float16, shape=[count, classes], memory_region_name=str(file)
        )
