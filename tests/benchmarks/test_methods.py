"""The rows of the benchmark of methods."""

from benchmarks.methods_row import PLAIN, TAUGHT, arms, recipe_of
from tfqkd.study.space import ARM


def test_a_row_is_an_arm_of_the_study_on_the_benchmarks_networks():
    names = arms().axes[0].ends()
    assert names[:2] == (PLAIN, TAUGHT)
    for name in names:
        recipe = recipe_of(name)
        assert (recipe.student.network, recipe.training.batch_size) == ("resnet20", 128)
        assert recipe.quantized.methods == arms().apply(recipe, {ARM: name}).quantized.methods
    assert recipe_of(PLAIN).teachers() == ()
    assert recipe_of("rkd").teachers() == recipe_of(TAUGHT).teachers() == ("resnet20",)
