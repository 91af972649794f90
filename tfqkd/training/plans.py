"""What a recipe comes to, in plain values: the one place where training reads the fields of a recipe."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.around import FloatQuantizer
from tfqkd.core.combining import LOGITS
from tfqkd.core.quantizer import WeightQuantizer
from tfqkd.core.quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schedules import Constant, Cosine, Exponential, Linear, Schedule, Step
from tfqkd.core.schemes import DeployScheme, Scheme
from tfqkd.core.views import folded
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import ImageData
from tfqkd.fronts import choose
from tfqkd.fronts.front import Front, Place
from tfqkd.fronts.settings import Capabilities, Distillation, Quantization, Training
from tfqkd.fronts.workers import Workers
from tfqkd.methods.batch_norm import BatchNorm
from tfqkd.methods.gradient_rounding import GradientRounding
from tfqkd.methods.latent import Latent
from tfqkd.methods.method import Method
from tfqkd.process.interruption import keep_handlers
from tfqkd.recipe.data import AUTO_STREAM
from tfqkd.recipe.layers import bits_by_layer
from tfqkd.recipe.models import is_model_path
from tfqkd.recipe.recipe import TRAINED, Recipe
from tfqkd.recipe.run import AUTO_PRECISION
from tfqkd.recipe.setting import FLOAT_BITS
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
KERAS_3 = 3


def load_data(recipe: Recipe, data_dir: str = "") -> ImageData:
    """Returns the data set of a recipe, of `data_dir` if that is given."""
    from tfqkd.data.datasets import load  # noqa: PLC0415 (slow to import)

    asked = {**data_of(recipe), **({"data_dir": data_dir} if data_dir else {})}
    return load(**asked, download=recipe.data.download)


def load_general(recipe: Recipe, like: ImageData) -> ImageData | None:
    """Returns the general data set of a recipe, without labels; None where it has none.

    Args:
        recipe: The recipe.
        like: The data set of its task.
    """
    from tfqkd.data.datasets import load, unlabelled  # noqa: PLC0415 (slow to import)

    name = recipe.progressive.data
    if not name:
        return None
    whole = {**data_of(recipe), "name": name, "validation_split": 0.0, "train_examples": 0}
    return unlabelled(load(**whole, download=recipe.data.download), like)


def data_of(recipe: Recipe) -> dict[str, Any]:
    """Returns which data a recipe asks for, as `tfqkd.data.load` takes it."""
    data = recipe.data
    return {
        "name": data.dataset,
        "data_dir": data.dir or None,
        "validation_split": data.validation_split,
        "train_examples": data.train_examples,
        "image_size": data.image_size,
        "centre_crop": data.centre_crop,
        "stream": data.stream,
    }


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


def front_of(recipe: Recipe) -> Front:
    """Returns the front that a recipe asks for, which loads its Keras."""
    return choose("keras3" if recipe.run.keras == KERAS_3 else "tfmot")


def formats_of(recipe: Recipe) -> tuple[str, ...]:
    """Returns the formats that a recipe exports."""
    return recipe.export.formats


def options_of(recipe: Recipe) -> dict[str, int]:
    """Returns the options of the formats that a recipe exports, as `export` takes them."""
    arena_bytes = recipe.export.arena_bytes
    return {"arena_bytes": arena_bytes} if arena_bytes else {}


def execution_of(recipe: Recipe) -> Execution:
    """Returns how a recipe is computed."""
    run, teacher = recipe.run, recipe.teacher
    return Execution(
        strategy=run.strategy,
        jit_compile=run.jit_compile,
        steps_per_execution=run.steps_per_execution,
        scan=run.scan,
        deterministic=run.deterministic,
        checkpoint_every=run.checkpoint_every,
        checkpoints_kept=run.checkpoints_kept,
        profile=run.profiled_steps(),
        cache=pathlib.Path(teacher.cache) if teacher.cache else None,
        cache_limit_gb=teacher.cache_limit_gb,
    )


def require_capable(capabilities: Capabilities, recipe: Recipe) -> None:
    """Raises ValueError if a recipe asks for what a front does not do."""
    run = recipe.run
    able = {
        "strategy": run.strategy in capabilities.strategies,
        "mixed_precision": run.mixed_precision in (AUTO_PRECISION, *capabilities.precisions),
        "deterministic": capabilities.deterministic or not run.deterministic,
        "jit_compile": capabilities.jit_compile or not run.jit_compile,
        "profile": capabilities.profile or not run.profile,
        "steps_per_execution": capabilities.steps_per_execution or run.steps_per_execution == 1,
    }
    for name, is_able in able.items():
        if not is_able:
            raise ValueError(
                f"`run.{name}` must be what this front does. Received: run.{name}={getattr(run, name)}. "
                "Leave it at its default, or choose another front."
            )
    if isinstance(recipe.distil.soft_weight, str) and "balanced" not in capabilities.methods:
        raise ValueError(
            "`distil.soft_weight` can be balanced where a front finds weights by gradients. Received: "
            f"distil.soft_weight={recipe.distil.soft_weight}. Give a number, or choose another front."
        )


def place_of(recipe: Recipe, front: Front) -> Place:
    """Returns where a recipe is computed; before anything else is.

    Raises:
        ValueError: If the batch cannot be shared evenly, or the place cannot do what is asked.
    """
    # What can be shared evenly of this can be of all batches.
    batch = math.gcd(*(recipe.training_of(stage).batch_size for stage in TRAINED))
    place = front.place(recipe.run.strategy, batch, recipe.run.jit_compile)
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
    if recipe.run.mixed_precision != AUTO_PRECISION:
        return recipe
    native = front.computes_in_bfloat16()
    if workers:
        native = workers.chief_says(native)
    chosen = BFLOAT16 if native else FLOAT32
    print(f"--run.mixed_precision=auto: {chosen} on this machine.", flush=True)
    return recipe.changed({"run.mixed_precision": chosen})


def with_stream(recipe: Recipe, data: ImageData) -> Recipe:
    """Returns the recipe with `auto` replaced by where its images are, so that a run goes on as it began."""
    if recipe.data.stream != AUTO_STREAM:
        return recipe
    return recipe.changed({"data.stream": "on" if data.train.is_streamed else "off"})


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
    if is_model_path(recipe.student.network):
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
        precision=recipe.run.mixed_precision,
        keras=_keras_of(recipe),
        training=dataclasses.replace(training, fixed_views=recipe.teacher.views),
        start=start,
        teachers=tuple(teachers),
        quantization=quantization_of(recipe),
        distillation=distillation_of(recipe),
        methods=methods_of(recipe),
    )


def quantization_of(recipe: Recipe) -> Quantization | None:
    """Returns how a recipe quantizes; None where weights are float, and no method holds them."""
    if recipe.quantize.is_float:
        return float_quantization_of(recipe)
    return Quantization(
        scheme=scheme_of(recipe),
        layers=bits_by_layer(recipe.quantize) or None,
        gradual_shares=(),
    )


def float_quantization_of(recipe: Recipe) -> Quantization | None:
    """Returns what holds a mask or clusters on the float weights of a recipe; None without such methods."""
    if not {"pruning", "clustering"} & set(recipe.quantized.methods):
        return None
    return Quantization(scheme=Scheme(FloatQuantizer()), layers=None, gradual_shares=())


def scheme_of(recipe: Recipe) -> Scheme:
    """Returns what a recipe quantizes layers with."""
    quantize = recipe.quantize
    bits, granularity = quantize.bits, quantize.granularity
    weights: dict[str, Callable[[], WeightQuantizer]] = {
        "uniform": lambda: UniformQuantizer(bits, granularity, quantize.step_update),
        "twn": TwnQuantizer,
        "ttq": TtqQuantizer,
        "lsq": lambda: LsqQuantizer(bits, granularity),
        "dorefa": lambda: DorefaQuantizer(bits),
    }
    activations = {"lsq": LsqActivationQuantizer, "pact": PactQuantizer}
    quantized = quantize.activation_bits != FLOAT_BITS
    quantizer = weights[quantize.quantizer]()
    if quantize.deploy:
        return DeployScheme(quantizer)
    return Scheme(
        quantizer,
        activations[quantize.activation_quantizer](quantize.activation_bits) if quantized else None,
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
    if is_model_path(network):
        return ModelFile(role, label, network, _keras_of(recipe))
    seed = recipe.seed_of(STUDENT)
    return Stage(
        role=role,
        label=label,
        seed=seed,
        network=network,
        precision=recipe.run.mixed_precision,
        keras=_keras_of(recipe),
        training=_training(recipe, role, part, seed),
        methods=_kept_statistics(recipe, TEACHER if role == ASSISTANT else role),
    )


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
