"""What a recipe asks of a front, in plain values."""

import dataclasses

from tfqkd.core.schedules import Constant, Cosine, Exponential, Linear, Schedule, Step
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import steps_per_epoch
from tfqkd.data.images import ImageData
from tfqkd.fronts.settings import Capabilities, Distillation, Fitting, Quantization
from tfqkd.training.recipe import Recipe
from tfqkd.training.schemes import scheme_of
from tfqkd.training.seeds import training_seed
from tfqkd.training.settings import AUTO_PRECISION, QUANTIZED, STUDENT, TEACHER


def require_capable(capabilities: Capabilities, recipe: Recipe) -> None:
    """Raises ValueError if a recipe asks for what a front does not do."""
    able = {
        "strategy": recipe.strategy in capabilities.strategies,
        "mixed_precision": recipe.mixed_precision in (AUTO_PRECISION, *capabilities.precisions),
        "deterministic": capabilities.deterministic or not recipe.deterministic,
        "jit_compile": capabilities.jit_compile or not recipe.jit_compile,
    }
    for name, is_able in able.items():
        if not is_able:
            raise ValueError(
                f"`{name}` must be what this front does. Received: {name}={getattr(recipe, name)}. "
                "Leave it at its default, or choose another front."
            )


def fitting_of(
    recipe: Recipe, stage: str, data: ImageData, title: str = "", fixed_views: int = 0
) -> Fitting:
    """Returns how a stage trains.

    Args:
        recipe: The recipe.
        stage: Whose epochs, learning rate and seed are taken.
        data: What it trains on.
        title: What it trains.
        fixed_views: How many views of each image are repeated.
    """
    quantized = stage == QUANTIZED
    epochs = {
        TEACHER: recipe.teacher_epochs,
        STUDENT: recipe.student_epochs,
        QUANTIZED: recipe.quantized_epochs,
    }[stage]
    return Fitting(
        title=title,
        epochs=epochs,
        steps=steps_per_epoch(data.train, recipe.batch_size),
        batch_size=recipe.batch_size,
        seed=training_seed(recipe, stage),
        augmentation=augmentation_of(recipe),
        fixed_views=fixed_views,
        learning_rate=recipe.quantized_learning_rate if quantized else recipe.learning_rate,
        learning_rate_schedule=recipe.learning_rate_schedule,
        learning_rate_factor=recipe.learning_rate_factor,
        milestones=recipe.milestones,
        warmup_epochs=recipe.warmup_epochs,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        ema=recipe.ema if quantized else 0.0,
        label_smoothing=recipe.label_smoothing,
        synchronized_batch_norm=recipe.synchronized_batch_norm,
        jit_compile=recipe.jit_compile,
        steps_per_execution=recipe.steps_per_execution,
    )


def estimation_of(recipe: Recipe, stage: str, data: ImageData) -> Fitting:
    """Returns how the training images are shown on which batch norm is measured anew."""
    fitting = fitting_of(recipe, stage, data)
    if recipe.batch_norm == "plain":
        return dataclasses.replace(fitting, augmentation=Augmentation.NONE)
    return fitting


def augmentation_of(recipe: Recipe) -> Augmentation:
    """Returns how a recipe varies its training images."""
    return Augmentation(recipe.crop_padding, recipe.flip)


def quantization_of(recipe: Recipe) -> Quantization:
    """Returns how a recipe quantizes; its weights are not float."""
    return Quantization(
        scheme=scheme_of(recipe),
        layers=recipe.bits_by_layer() or None,
        gradual_shares=recipe.gradual_shares(),
    )


def distillation_of(recipe: Recipe) -> Distillation:
    """Returns how a recipe teaches."""
    return Distillation(
        temperature=recipe.temperature,
        coefficient=recipe.coefficient,
        soft_loss=recipe.soft_loss,
        soft_weight=recipe.soft_weight,
        dkd_beta=recipe.dkd_beta,
        scale_by_temperature_squared=recipe.scale_by_temperature_squared,
    )


def coefficient_schedule(recipe: Recipe) -> Schedule:
    """Returns the schedule of the soft loss's coefficient."""
    start, end = recipe.coefficient, recipe.coefficient_end
    if recipe.schedule == "step":
        return Step(start, recipe.milestones, recipe.learning_rate_factor)
    if recipe.schedule == "constant":
        return Constant(start)
    return {"gradual": Linear, "cosine": Cosine, "exponential": Exponential}[recipe.schedule](
        start, end
    )
