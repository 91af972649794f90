from tfqkd.training.recipe import Recipe
from tfqkd.training.seeds import training_seed
from tfqkd.training.settings import QUANTIZED, STUDENT, TEACHER

STAGES = (TEACHER, STUDENT, QUANTIZED)


def test_role_and_stage_are_part_of_a_training_s_seed():
    seeds = [training_seed(Recipe(seed=seed), s) for seed in (0, 1) for s in STAGES]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_float_stages_follow_the_seed_that_they_share():
    runs = [Recipe(seed=seed, pretrain_seed=5) for seed in (1, 2)]
    for stage in (TEACHER, STUDENT):
        assert len({training_seed(run, stage) for run in runs}) == 1
    assert len({training_seed(run, QUANTIZED) for run in runs}) == 2
