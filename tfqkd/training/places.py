"""Where a recipe is computed."""

from tfqkd.fronts.front import Front, Place
from tfqkd.training.interruption import keep_handlers
from tfqkd.training.recipe import Recipe


def place_of(recipe: Recipe, front: Front) -> Place:
    """Returns where a recipe is computed; before anything else is.

    Raises:
        ValueError: If the batch cannot be shared evenly, or the place cannot do what is asked.
    """
    place = front.place(recipe.strategy, recipe.batch_size, recipe.jit_compile)
    # TensorFlow takes SIGTERM for a cluster's notice of preemption, and Python hears no more of it.
    keep_handlers()
    return place
