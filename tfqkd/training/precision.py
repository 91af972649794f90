"""What `--mixed_precision=auto` comes to: bfloat16 where the hardware computes in it."""

import dataclasses

from tfqkd.fronts.front import Front
from tfqkd.fronts.workers import Workers
from tfqkd.training.recipe import Recipe
from tfqkd.training.settings import AUTO_PRECISION

BFLOAT16, FLOAT32 = "mixed_bfloat16", "float32"


def with_precision(recipe: Recipe, front: Front, workers: Workers | None = None) -> Recipe:
    """Returns the recipe with `auto` replaced by the precision of the machine, which is printed.

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
