import numpy as np
import pytest
from scipy import stats

from tfqkd.core.mixup import mixed, shares

EXAMPLES = np.arange(20_000)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_of_the_beta_distribution(alpha):
    found = shares(7, 3, EXAMPLES, alpha)
    assert found.min() >= 0 and found.max() <= 1
    assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_shares_depend_on_seed_epoch_and_example_alone():
    whole, some = shares(7, 3, EXAMPLES, 0.2), np.array([17, 4, 3999])
    np.testing.assert_array_equal(shares(7, 3, some, 0.2), whole[some])
    for key, epoch in ((8, 3), (7, 4)):
        correlation = np.corrcoef(whole, shares(key, epoch, EXAMPLES, 0.2))[0, 1]
        assert abs(correlation) < 4 / len(EXAMPLES) ** 0.5


@pytest.mark.parametrize("count", [8, 9])
def test_neighbours_of_a_batch_are_mixed_with_each_other(count):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 2, 3, 1), np.uint8)
    labels = np.eye(count, dtype=np.float32)
    examples = generator.permutation(1000)[:count]
    shown, targets = mixed(images, labels, 7, 3, examples, 0.4)
    assert shown.dtype == np.uint8 and targets.dtype == np.float32
    for place, share in enumerate(shares(7, 3, examples, 0.4)):
        other = min(place + 1 if place % 2 == 0 else place - 1, count - 1)
        expected = share * images[place].astype(float) + (1 - share) * images[other]
        np.testing.assert_allclose(shown[place], expected, atol=0.5)
        weights = np.zeros(count)
        weights[place] += share
        weights[other] += 1 - share
        np.testing.assert_allclose(targets[place], weights, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_other_alphas_are_refused(alpha):
    with pytest.raises(ValueError, match="`alpha` of mixup must be above 0"):
        shares(0, 0, EXAMPLES[:2], alpha)
