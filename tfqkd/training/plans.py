"""What the stages of a recipe are, in plain values; `execution` says where they are computed."""

import dataclasses
from collections.abc import Sequence

from tfqkd.core.combining import LOGITS
from tfqkd.core.schedules import Constant, Cosine, Exponential, Linear, Schedule, Step
from tfqkd.core.views import folded
from tfqkd.data.augmentation import Augmentation
from tfqkd.fronts.settings import Distillation, Training
from tfqkd.methods.batch_norm import BatchNorm
from tfqkd.methods.gradient_rounding import GradientRounding
from tfqkd.methods.latent import Latent
from tfqkd.methods.method import Method
from tfqkd.recipe.models import is_saved
from tfqkd.recipe.recipe import Recipe
from tfqkd.recipe.setting import FLOAT_BITS
from tfqkd.training.execution import KERAS_3
from tfqkd.training.quantization import quantization_of
from tfqkd.training.stage import (
    ASSISTANT,
    QUANTIZED,
    STUDENT,
    TEACHER,
    ModelFile,
    Source,
    Stage,
)


def augmentation_of(recipe: Recipe) -> Augmentation:
    """Returns how a recipe varies training images."""
    data = recipe.data
    return Augmentation(
        padding=0 if data.resized_crop else data.crop_padding,
        flip=data.flip,
        resized_crop=data.resized_crop,
        operations=data.operations,
        magnitude=data.magnitude,
        mixup=data.mixup,
    )


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """Returns the recipe with another seed."""
    return recipe.changed(seed=seed)


def require_annealed(recipe: Recipe) -> None:
    """Raises ValueError if a recipe has no teacher or no annealed coefficient to compare."""
    schedule = recipe.distil.schedule
    if not recipe.has_teacher or schedule == "constant":
        raise ValueError(
            "A comparison needs a recipe with a teacher and an annealed coefficient. "
            f"Received: teacher={recipe.teacher.network}, coefficient={recipe.distil.coefficient}, "
            f"schedule={schedule}. Set --teacher and --schedule=gradual."
        )


def kind_of(recipe: Recipe) -> str:
    """Returns what the weights of the student are: "ternary", "4-bit", "float"."""
    return recipe.quantize.kind


def teachers_of(recipe: Recipe) -> tuple[Source, ...]:
    """Returns the teachers of a recipe, none if nothing is learned from any."""
    names = recipe.teachers()
    numbers = [f" {number}" for number in range(1, len(names) + 1)] if len(names) > 1 else [""]
    return tuple(
        _float_network(recipe, TEACHER, name, f"float teacher{number}", (1, 1))
        for name, number in zip(names, numbers, strict=bool(names))
    )


def assistant_of(recipe: Recipe, network: str, number: int, teachers: Sequence[Source]) -> Source:
    """Returns a teacher that is taught itself, and trained as a teacher is.

    Args:
        recipe: The recipe.
        network: Its architecture, or the path of a saved one.
        number: Counts the assistants of a run from 1.
        teachers: Its teachers.
    """
    label = f"float assistant {number}"
    assistant = _float_network(recipe, ASSISTANT, network, label, (3, number))
    return _taught(assistant, recipe, teachers, distillation_of(recipe, TEACHER))


def student_of(
    recipe: Recipe, teachers: Sequence[Source] = (), distillation: Distillation | None = None
) -> Source:
    """Returns the float student, taught where the recipe says so and there is somebody to do it."""
    student = _float_network(recipe, STUDENT, recipe.student.network, "float student", (2, 1))
    if not (teachers and recipe.teaches_float):
        return student
    return _taught(student, recipe, teachers, distillation)


def progressive_of(recipe: Recipe, teachers: Sequence[Source]) -> tuple[Stage, ...]:
    """Returns the stages before the task-specific one; none where the recipe asks for none.

    From one to the next, one of teacher, data and loss changes: general distillation (the general teacher on
    general data), general-enhanced (the task's teacher), task-adaptive (the task's data), all by the latent
    loss alone; then labels and soft labels come in.
    """
    progressive = recipe.progressive
    found: tuple[Stage, ...] = ()
    if not progressive.epochs:
        return found
    weighed = Distillation(coefficient=Constant(1.0), coefficient_on=None, soft_loss="none")
    general = ModelFile(
        TEACHER, "general teacher", progressive.teacher, _keras_of(recipe), layers_only=True
    )
    kinds = (
        ("general distillation", (general,), True),
        ("general-enhanced distillation", tuple(teachers), True),
        ("task-adaptive distillation", tuple(teachers), False),
    )
    start: Source | None = None
    if is_saved(recipe.student.network):
        start = student_of(recipe)
    for number, (label, teaching, on_general) in enumerate(kinds, start=1):
        epochs = progressive.epochs[number - 1]
        if not epochs:
            continue
        seed = recipe.seed_of(STUDENT)
        training = _training(recipe, STUDENT, (4, number), seed)
        start = Stage(
            role=STUDENT,
            label=label,
            seed=seed,
            network=recipe.student.network,
            weights=recipe.student.weights,
            precision=recipe.run.mixed_precision,
            keras=_keras_of(recipe),
            # No label has a say, neither as a class's weight nor in when to stop.
            training=dataclasses.replace(training, epochs=epochs, class_weights="none", patience=0),
            start=start,
            teachers=teaching,
            distillation=weighed,
            methods=(Latent(weight=progressive.weight), *_kept_statistics(recipe, STUDENT)),
            on_general=on_general,
        )
        found = (*found, start)
    return found


def quantized_of(recipe: Recipe, start: Source, teachers: Sequence[Source]) -> Stage:
    """Returns the last stage of a recipe: the student with its bits, or the float control."""
    training = _training(recipe, QUANTIZED, (2, 2), recipe.run.seed)
    return Stage(
        role=QUANTIZED,
        label=recipe.title,
        seed=recipe.run.seed,
        network=recipe.student.network,
        weights=recipe.student.weights,
        precision=recipe.run.mixed_precision,
        keras=_keras_of(recipe),
        training=dataclasses.replace(training, fixed_views=recipe.teacher.views),
        start=start,
        teachers=tuple(teachers),
        quantization=quantization_of(recipe),
        distillation=distillation_of(recipe),
        methods=methods_of(recipe),
    )


def methods_of(recipe: Recipe) -> tuple[Method, ...]:
    """Returns what else the quantized stage does, in the order in which it is done."""
    found: list[Method] = []
    quantize = recipe.quantize
    if not quantize.is_float and quantize.gradient_bits != FLOAT_BITS:
        found.append(GradientRounding(bits=quantize.gradient_bits))
    own, progressive = recipe.quantized.own, recipe.progressive
    if (
        progressive.epochs
        and progressive.last_weight
        and not any(isinstance(m, Latent) for m in own)
    ):
        found.append(Latent(weight=progressive.last_weight, falls=True))
    return (*found, *own, *_kept_statistics(recipe, QUANTIZED))


def _kept_statistics(recipe: Recipe, stage: str) -> tuple[Method, ...]:
    """Last of all: measured when the weights are at rest."""
    images = recipe.training_of(stage).batch_norm
    return () if images == "moving" else (BatchNorm(images=images),)


def distillation_of(recipe: Recipe, stage: str = QUANTIZED) -> Distillation | None:
    """Returns how a stage of a recipe weighs losses; None where there is but one."""
    if not recipe.distils:
        return None
    distil, schedule = recipe.distil, coefficient_schedule(recipe, stage)
    # The others have the same values either way.
    by = distil.schedule_on if isinstance(schedule, (Linear, Cosine, Exponential)) else None
    weighed = Distillation(coefficient=schedule, coefficient_on=by, soft_loss=distil.soft_loss)
    if not recipe.has_teacher:
        return weighed
    several, combine = len(recipe.teachers()) > 1, recipe.teacher.combine
    return dataclasses.replace(
        weighed,
        temperature=distil.temperature,
        soft_weight=distil.soft_weight,
        dkd_beta=distil.dkd_beta if distil.soft_loss == "dkd" else None,
        scale_by_temperature_squared=distil.scale_by_temperature_squared,
        combine=combine if several and combine != LOGITS else None,
    )


def coefficient_schedule(recipe: Recipe, stage: str = QUANTIZED) -> Schedule:
    """Returns the schedule of the soft loss's coefficient in a stage."""
    distil, training = recipe.distil, recipe.training_of(stage)
    start, end = distil.coefficient, distil.coefficient_end
    if distil.schedule == "step":
        return Step(start, training.milestones, training.factor)
    if distil.schedule == "constant":
        return Constant(start)
    return {"gradual": Linear, "cosine": Cosine, "exponential": Exponential}[distil.schedule](
        start, end
    )


def _float_network(
    recipe: Recipe, role: str, network: str, label: str, part: tuple[int, int]
) -> Source:
    if is_saved(network):
        return ModelFile(role, label, network, _keras_of(recipe))
    seed = recipe.seed_of(STUDENT)
    return Stage(
        role=role,
        label=label,
        seed=seed,
        network=network,
        weights=_weights_of(recipe, role),
        precision=recipe.run.mixed_precision,
        keras=_keras_of(recipe),
        training=_training(recipe, role, part, seed),
        methods=_kept_statistics(recipe, TEACHER if role == ASSISTANT else role),
    )


def _weights_of(recipe: Recipe, role: str) -> str:
    return {STUDENT: recipe.student.weights, TEACHER: recipe.teacher.weights}.get(role, "")


def _keras_of(recipe: Recipe) -> int | None:
    return KERAS_3 if recipe.run.keras == KERAS_3 else None


def _taught(
    source: Source, recipe: Recipe, teachers: Sequence[Source], distillation: Distillation | None
) -> Source:
    if isinstance(source, ModelFile):
        return source
    training = dataclasses.replace(source.training, fixed_views=recipe.teacher.views)
    return dataclasses.replace(
        source, training=training, teachers=tuple(teachers), distillation=distillation
    )


def _training(recipe: Recipe, role: str, part: tuple[int, int], seed: int) -> Training:
    """Returns how a stage trains.

    Args:
        recipe: The recipe.
        role: Whose epochs and learning rate are taken.
        part: Folded into the seed, so that no two trainings of a run share weights, order or views: 1 for a
            teacher, 2 for a student, 3 for an assistant; then 1 for float, 2 for quantized, or its number.
        seed: Of the stage.
    """
    # An assistant trains as a teacher does.
    own = recipe.training_of(TEACHER if role == ASSISTANT else role)
    steps = own.schedule == "step"
    return Training(
        epochs=own.epochs,
        batch_size=own.batch_size,
        seed=folded(seed, *part),
        augmentation=augmentation_of(recipe),
        fixed_views=0,
        learning_rate=own.learning_rate,
        learning_rate_schedule=own.schedule,
        learning_rate_factor=own.factor if steps else 1.0,
        milestones=own.milestones if steps else (),
        warmup_epochs=own.warmup_epochs,
        momentum=own.momentum,
        weight_decay=own.weight_decay,
        label_smoothing=own.label_smoothing,
        class_weights=own.class_weights,
        patience=own.patience,
        synchronized_batch_norm=recipe.run.synchronized_batch_norm,
    )
