"""What shows before training that a recipe cannot end well."""

import pathlib
from collections.abc import Callable, Sequence

from tfqkd.data.batches import steps_per_epoch
from tfqkd.data.images import ImageData
from tfqkd.fronts.front import Front, Model
from tfqkd.training.models import require_different, require_fit
from tfqkd.training.plans import quantization_of
from tfqkd.training.recipe import Recipe
from tfqkd.training.rules import is_model_path
from tfqkd.training.settings import FLOAT_BITS, STUDENT, TEACHER

TRIED_IMAGES = 16
"""On how many training images an untrained student is exported."""


def checked_student(
    recipe: Recipe, data: ImageData, front: Front, build: Callable[[str], Model]
) -> Model:
    """Builds every model of a recipe once, untrained, and returns the student.

    Args:
        recipe: The recipe.
        data: Loaded as it says.
        front: Whose models they are.
        build: From a name or path to the model.

    Raises:
        ValueError: If a model does not fit the data set, ends in softmax, computes in another precision,
            cannot be quantized as the recipe says, or has no fixed images to be exported for.
        ExportError: If the student has layers that a format cannot hold.
    """
    steps_per_epoch(data.train, recipe.batch_size)
    teachers = [(TEACHER, name) for name in recipe.teachers()]
    require_different([pathlib.Path(name) for _, name in teachers if is_model_path(name)])
    for role, name in (*teachers, (STUDENT, recipe.student)):
        model = build(name)
        require_fit(name, front.facts(model), data)
        if is_model_path(name):
            front.require_runs(name, model, data)
        front.require_logits(model, role)
    if is_model_path(recipe.student):
        front.require_precision(recipe.student, model, recipe.mixed_precision)
    if recipe.formats:
        _require_exportable(model, recipe.formats, data.class_names)
    if recipe.bits != FLOAT_BITS:
        front.require_quantizable(model, quantization_of(recipe))
    return model


def try_formats(model: Model, formats: Sequence[str], data: ImageData) -> None:
    """Writes every format once with the untrained student.

    Raises:
        ExportError: If a format cannot hold it.
    """
    from tfqkd.export.trial import require_formats  # noqa: PLC0415 (knows Keras)

    require_formats(model, formats, data.train.sample(TRIED_IMAGES), data.class_names)


def _require_exportable(model: Model, formats: Sequence[str], class_names: Sequence[str]) -> None:
    from tfqkd.export.keras_file import require_own_layers  # noqa: PLC0415 (knows Keras)
    from tfqkd.export.source import require_exportable  # noqa: PLC0415

    require_exportable(model, class_names)
    if "keras" in formats:
        require_own_layers(model)
