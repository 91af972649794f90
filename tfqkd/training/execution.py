"""Where and on what a recipe is computed: data, front, strategy, precision."""

import math
import pathlib
from typing import Any

from tfqkd.data.images import ImageData
from tfqkd.fronts import choose
from tfqkd.fronts.front import Front, Strategy
from tfqkd.fronts.settings import Capabilities
from tfqkd.fronts.workers import Workers
from tfqkd.process.interruption import keep_handlers
from tfqkd.recipe.data import AUTO_STREAM
from tfqkd.recipe.recipe import TRAINED, Recipe
from tfqkd.recipe.run import AUTO_PRECISION
from tfqkd.training.stage import Execution

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


def strategy_of(recipe: Recipe, front: Front) -> Strategy:
    """Returns where a recipe is computed; before anything else is.

    Raises:
        ValueError: If the batch cannot be shared evenly, or the devices cannot do what is asked.
    """
    # What can be shared evenly of this can be of all batches.
    batch = math.gcd(*(recipe.training_of(stage).batch_size for stage in TRAINED))
    strategy = front.strategy(recipe.run.strategy, batch, recipe.run.jit_compile)
    # TensorFlow takes SIGTERM for a cluster's notice of preemption, and Python hears no more of it.
    keep_handlers()
    return strategy


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
    """Returns the recipe with `auto` replaced by where its images are, for a run that resumes."""
    if recipe.data.stream != AUTO_STREAM:
        return recipe
    return recipe.changed({"data.stream": "on" if data.train.is_streamed else "off"})
