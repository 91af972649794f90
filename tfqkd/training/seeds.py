"""The seed of each training: other weights, another order and other views for every role and stage."""

from tfqkd.core.views import folded
from tfqkd.training.recipe import Recipe
from tfqkd.training.settings import QUANTIZED, STUDENT, TEACHER

_ROLE_AND_STAGE = {TEACHER: (1, 1), STUDENT: (2, 1), QUANTIZED: (2, 2)}
"""Role: 1 teacher, 2 student. Stage: 1 float, 2 quantized."""


def training_seed(recipe: Recipe, stage: str) -> int:
    """Returns the seed of a stage's weights, order and views, 0..2**32-1.

    Role and stage are folded into the recipe's seed: a teacher of the student's architecture is another
    network than the float student, and the quantized stage shows other crops than the float one.
    """
    return folded(recipe.seed_of(stage), *_ROLE_AND_STAGE[stage])
