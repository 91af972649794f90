"""What a recipe comes to, in plain values: the one place where training reads the fields of a recipe."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schedules import Constant, Cosine, Exponential, Linear, Schedule, Step
from tfqkd.core.schemes import Scheme
from tfqkd.core.views import folded
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import ImageData
from tfqkd.fronts.front import Front, Place
from tfqkd.fronts.settings import Capabilities, Distillation, Quantization, Training
from tfqkd.fronts.workers import Workers
from tfqkd.methods import Method
from tfqkd.methods.batch_norm import BatchNorm
from tfqkd.methods.ema import Ema
from tfqkd.methods.gradient_rounding import GradientRounding
from tfqkd.methods.gradual import Gradual
from tfqkd.process.interruption import keep_handlers
from tfqkd.training.recipe import Recipe
from tfqkd.training.rules import is_model_path
from tfqkd.training.settings import AUTO_PRECISION, FLOAT_BITS
from tfqkd.training.stage import (
    ASSISTANT,
    QUANTIZED,
    STUDENT,
    TEACHER,
    Execution,
    ModelFile,
    Source,
    Stage,
)

BFLOAT16, FLOAT32 = "mixed_bfloat16", "float32"


def load_data(recipe: Recipe, data_dir: str = "") -> ImageData:
    """Returns the data set of a recipe, of `data_dir` if that is given."""
    from tfqkd.data.datasets import load  # noqa: PLC0415 (slow to import)

    asked = data_of(recipe)
    return load(**{**asked, "data_dir": data_dir or asked["data_dir"]}, download=recipe.download)


def data_of(recipe: Recipe) -> dict[str, Any]:
    """Returns which data a recipe asks for, as `tfqkd.data.load` takes it."""
    return {
        "name": recipe.dataset,
        "data_dir": recipe.data_dir or None,
        "validation_split": recipe.validation_split,
        "train_examples": recipe.train_examples,
        "image_size": recipe.image_size,
    }


def formats_of(recipe: Recipe) -> tuple[str, ...]:
    """Returns the formats that a recipe exports."""
    return recipe.formats


def execution_of(recipe: Recipe) -> Execution:
    """Returns how a recipe is computed."""
    return Execution(
        strategy=recipe.strategy,
        jit_compile=recipe.jit_compile,
        steps_per_execution=recipe.steps_per_execution,
        deterministic=recipe.deterministic,
        checkpoint_every=recipe.checkpoint_every,
        checkpoints_kept=recipe.checkpoints_kept,
        profile=recipe.profiled_steps(),
        cache=pathlib.Path(recipe.teacher_cache) if recipe.teacher_cache else None,
        cache_limit_gb=recipe.teacher_cache_limit_gb,
    )


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


def place_of(recipe: Recipe, front: Front) -> Place:
    """Returns where a recipe is computed; before anything else is.

    Raises:
        ValueError: If the batch cannot be shared evenly, or the place cannot do what is asked.
    """
    place = front.place(recipe.strategy, recipe.batch_size, recipe.jit_compile)
    # TensorFlow takes SIGTERM for a cluster's notice of preemption, and Python hears no more of it.
    keep_handlers()
    return place


def with_precision(recipe: Recipe, front: Front, workers: Workers | None = None) -> Recipe:
    """Returns the recipe with the precision `auto` replaced by that of the machine, which is printed.

    It is bfloat16 where the hardware computes in it.

    Args:
        recipe: The recipe.
        front: Knows the machine.
        workers: Those that train together, all of whom must call this: the chief's machine decides.
    """
    if recipe.mixed_precision != AUTO_PRECISION:
        return recipe
    native = front.computes_in_bfloat16()
    if workers:
        native = workers.chief_says(native)
    chosen = BFLOAT16 if native else FLOAT32
    print(f"--mixed_precision=auto: {chosen} on this machine.", flush=True)
    return dataclasses.replace(recipe, mixed_precision=chosen)


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """Returns the recipe with another seed."""
    return dataclasses.replace(recipe, seed=seed)


def require_annealed(recipe: Recipe) -> None:
    """Raises ValueError if a recipe has no teacher or no annealed coefficient to compare."""
    if not recipe.has_teacher or recipe.schedule == "constant":
        raise ValueError(
            "A comparison needs a recipe with a teacher and an annealed coefficient. "
            f"Received: teacher={recipe.teacher}, coefficient={recipe.coefficient}, "
            f"schedule={recipe.schedule}. Set --teacher and --schedule=gradual."
        )


def kind_of(recipe: Recipe) -> str:
    """Returns what the weights of the student are: "ternary", "4-bit", "float"."""
    return recipe.kind


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
    return _taught(assistant, recipe, teachers, distillation_of(recipe))


def student_of(
    recipe: Recipe, teachers: Sequence[Source] = (), distillation: Distillation | None = None
) -> Source:
    """Returns the float student, taught where the recipe says so and there is somebody to do it."""
    student = _float_network(recipe, STUDENT, recipe.student, "float student", (2, 1))
    if not (teachers and recipe.teaches_float):
        return student
    return _taught(student, recipe, teachers, distillation)


def quantized_of(recipe: Recipe, start: Source, teachers: Sequence[Source]) -> Stage:
    """Returns the last stage of a recipe: the student with its bits, or the float control."""
    training = _training(recipe, QUANTIZED, (2, 2), recipe.seed)
    return Stage(
        role=QUANTIZED,
        label=recipe.title,
        seed=recipe.seed,
        network=recipe.student,
        precision=recipe.mixed_precision,
        training=dataclasses.replace(training, fixed_views=recipe.teacher_views),
        start=start,
        teachers=tuple(teachers),
        quantization=None if recipe.bits == FLOAT_BITS else quantization_of(recipe),
        distillation=distillation_of(recipe),
        methods=methods_of(recipe),
    )


def quantization_of(recipe: Recipe) -> Quantization:
    """Returns how a recipe quantizes; its weights are not float."""
    return Quantization(
        scheme=scheme_of(recipe),
        layers=recipe.bits_by_layer() or None,
        gradual_shares=(),
    )


def scheme_of(recipe: Recipe) -> Scheme:
    """Returns what a recipe quantizes layers with."""
    bits = recipe.bits
    weights: dict[str, Callable[[], WeightQuantizer]] = {
        "uniform": lambda: UniformQuantizer(bits, recipe.granularity, recipe.step_update),
        "twn": TwnQuantizer,
        "ttq": TtqQuantizer,
        "lsq": lambda: LsqQuantizer(bits, recipe.granularity),
        "dorefa": lambda: DorefaQuantizer(bits),
    }
    activations = {"lsq": LsqActivationQuantizer, "pact": PactQuantizer}
    quantized = recipe.activation_bits != FLOAT_BITS
    quantizer = weights[recipe.quantizer]()
    return Scheme(
        quantizer,
        activations[recipe.activation_quantizer](recipe.activation_bits) if quantized else None,
    )


def methods_of(recipe: Recipe) -> tuple[Method, ...]:
    """Returns what else the quantized stage does, in the order in which it is done."""
    found: list[Method] = []
    quantizes = recipe.bits != FLOAT_BITS
    if quantizes and recipe.gradient_bits != FLOAT_BITS:
        found.append(GradientRounding(bits=recipe.gradient_bits))
    if quantizes and (recipe.gradual_bits or recipe.gradual_share):
        found.append(Gradual(bits=recipe.gradual_widths(), share=recipe.gradual_shares()))
    if recipe.ema:
        found.append(Ema(momentum=recipe.ema))
    return (*found, *_kept_statistics(recipe))


def _kept_statistics(recipe: Recipe) -> tuple[Method, ...]:
    """Last of all: measured when the weights are at rest."""
    return () if recipe.batch_norm == "moving" else (BatchNorm(images=recipe.batch_norm),)


def distillation_of(recipe: Recipe) -> Distillation | None:
    """Returns how a recipe weighs losses; None where there is but one."""
    if not recipe.distils:
        return None
    schedule = coefficient_schedule(recipe)
    # The others have the same values either way.
    by = recipe.schedule_on if isinstance(schedule, (Linear, Cosine, Exponential)) else None
    weighed = Distillation(coefficient=schedule, coefficient_on=by, soft_loss=recipe.soft_loss)
    if not recipe.has_teacher:
        return weighed
    return dataclasses.replace(
        weighed,
        temperature=recipe.temperature,
        soft_weight=recipe.soft_weight,
        dkd_beta=recipe.dkd_beta if recipe.soft_loss == "dkd" else None,
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


def _float_network(
    recipe: Recipe, role: str, network: str, label: str, part: tuple[int, int]
) -> Source:
    if is_model_path(network):
        return ModelFile(role, label, network)
    seed = recipe.seed_of(STUDENT)
    return Stage(
        role=role,
        label=label,
        seed=seed,
        network=network,
        precision=recipe.mixed_precision,
        training=_training(recipe, role, part, seed),
        methods=_kept_statistics(recipe),
    )


def _taught(
    source: Source, recipe: Recipe, teachers: Sequence[Source], distillation: Distillation | None
) -> Source:
    if isinstance(source, ModelFile):
        return source
    training = dataclasses.replace(source.training, fixed_views=recipe.teacher_views)
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
    epochs = {STUDENT: recipe.student_epochs, QUANTIZED: recipe.quantized_epochs}
    quantized, steps = role == QUANTIZED, recipe.learning_rate_schedule == "step"
    return Training(
        epochs=epochs.get(role, recipe.teacher_epochs),
        batch_size=recipe.batch_size,
        seed=folded(seed, *part),
        augmentation=Augmentation(recipe.crop_padding, recipe.flip),
        fixed_views=0,
        learning_rate=recipe.quantized_learning_rate if quantized else recipe.learning_rate,
        learning_rate_schedule=recipe.learning_rate_schedule,
        learning_rate_factor=recipe.learning_rate_factor if steps else 1.0,
        milestones=recipe.milestones if steps else (),
        warmup_epochs=recipe.warmup_epochs,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        label_smoothing=recipe.label_smoothing,
        synchronized_batch_norm=recipe.synchronized_batch_norm,
    )
