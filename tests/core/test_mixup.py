import numpy as np
import pytest
from scipy import stats

from tfqkd.core.mixup import partners, shares
from tfqkd.core.views import NUMPY, draw_order

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
def test_neighbours_of_an_epoch_are_mixed_with_each_other(count):
    order = draw_order(7, 3, np.arange(count), NUMPY)
    found = dict(zip(order.tolist(), partners(order).tolist(), strict=True))
    assert all(found[other] == example for example, other in found.items())
    assert [example for example, other in found.items() if example == other] == (
        [order[-1]] if count % 2 else []
    )
    # Batches of an even size hold both.
    for start in range(0, count, 4):
        batch = set(order[start : start + 4].tolist())
        assert {found[example] for example in batch} == batch


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_other_alphas_are_refused(alpha):
    with pytest.raises(ValueError, match="`alpha` of mixup must be above 0"):
        shares(0, 0, EXAMPLES[:2], alpha)
