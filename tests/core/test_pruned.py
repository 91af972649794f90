import numpy as np
import pytest

from tfqkd.core.clustered import ClusteredQuantizer, first_centroids
from tfqkd.core.composite import FloatQuantizer
from tfqkd.core.ops import NUMPY
from tfqkd.core.pruned import PrunedQuantizer, masked
from tfqkd.core.quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.serialization import deserialized, serialized
from tfqkd.core.steps import optimal_step

from .arrays import upstream

WEIGHTS = upstream(0, (6, 5))
MOVED = WEIGHTS + np.float32(0.5) * upstream(1, WEIGHTS.shape)
INNER = [
    FloatQuantizer(),
    UniformQuantizer(2),
    UniformQuantizer(4, "channel", "every_step"),
    TwnQuantizer(),
    TtqQuantizer(),
    LsqQuantizer(2),
    ClusteredQuantizer(UniformQuantizer(8), 5),
]


@pytest.mark.parametrize("inner", INNER, ids=lambda each: f"{type(each).__name__}{each.bits}")
def test_what_the_mask_takes_out_is_exactly_zero(inner):
    pruned = PrunedQuantizer(inner, 0.5)
    state = pruned.initial_state(WEIGHTS)
    assert (state["mask"] == 0).sum() == 15
    assert np.abs(WEIGHTS[state["mask"] == 0]).max() < np.abs(WEIGHTS[state["mask"] > 0]).min()
    state |= pruned.updated(MOVED, state, NUMPY)
    value = pruned.quantize(MOVED, state, NUMPY)
    assert (value[state["mask"] == 0] == 0).all()
    # The rest is what the other quantizer makes of weights with these zeros.
    own = {key: each for key, each in state.items() if key != "mask"}
    expected = inner.quantize(np.where(state["mask"] > 0, MOVED, 0), own, NUMPY)
    np.testing.assert_array_equal(value, expected)
    assert deserialized(serialized(pruned)) == pruned
    assert pruned.innermost == inner.innermost
    assert pruned.with_bits(inner.bits) == pruned


def test_no_sparsity_is_the_other_quantizer():
    inner = UniformQuantizer(2)
    pruned, state = PrunedQuantizer(inner), PrunedQuantizer(inner).initial_state(WEIGHTS)
    expected = inner.quantize(MOVED, inner.initial_state(WEIGHTS), NUMPY)
    np.testing.assert_array_equal(pruned.quantize(MOVED, state, NUMPY), expected)


def test_the_mask_only_grows_to_exactly_the_share():
    pruned = PrunedQuantizer(UniformQuantizer(2))
    state = pruned.initial_state(WEIGHTS)
    before = state["mask"]
    for share in (0.3, 0.55, 0.55, 0.97, 0.999):
        state |= pruned.at_sparsity(share, MOVED * (1 + share), state, (-1,))
        assert (state["mask"] == 0).sum() == min(round(share * 30), 29)
        assert (before >= state["mask"]).all()
        before = state["mask"]
    left = np.where(state["mask"] > 0, MOVED * np.float32(1.97), 0)
    np.testing.assert_allclose(state["step"], optimal_step(left, 2), rtol=1e-6)
    # A learned step goes on from where it is, and depthwise kernels stay whole.
    learned = PrunedQuantizer(LsqQuantizer(2))
    state = learned.initial_state(WEIGHTS)
    assert set(learned.at_sparsity(0.5, WEIGHTS, state, (-1,))) == {"mask"}
    assert learned.at_sparsity(0.5, WEIGHTS, state, (0, 1)) == {}
    assert PrunedQuantizer(FloatQuantizer(), 0.5).initial_state(WEIGHTS, (0, 1))["mask"].all()


def test_equal_weights_go_in_their_order():
    mask = masked(np.ones((4, 1), np.float32), np.ones((4, 1), np.float32), 0.5)
    assert mask.sum() == 2


def test_what_has_no_zero_and_shares_out_of_range_are_refused():
    with pytest.raises(ValueError, match="must have a quantizer that has zero"):
        PrunedQuantizer(DorefaQuantizer(2))
    with pytest.raises(ValueError, match="`sparsity` must be in"):
        PrunedQuantizer(FloatQuantizer(), 1.0)
    with pytest.raises(ValueError, match="`clusters` must be 2 to 64"):
        ClusteredQuantizer(FloatQuantizer(), 1)


def test_k_centroids_are_those_of_k_means_with_a_zero():
    centroids = first_centroids(WEIGHTS, 6)
    assert len(centroids) == 6 and (np.diff(centroids) > 0).all() and 0 in centroids
    nearest = np.argmin(np.abs(WEIGHTS[..., None] - centroids), axis=-1)
    for number, centroid in enumerate(centroids):
        own = WEIGHTS[nearest == number]
        if centroid and own.size:
            assert centroid == pytest.approx(own.mean(), rel=1e-5)
    assert len(np.unique(first_centroids(np.zeros((3, 2), np.float32), 4))) == 4


def test_weights_lie_at_the_nearest_centroid_and_centroids_follow_them():
    clustered = ClusteredQuantizer(FloatQuantizer(), 6)
    state = clustered.initial_state(WEIGHTS)
    updated = clustered.updated(MOVED, state, NUMPY)["centroids"]
    nearest = np.argmin(np.abs(MOVED[..., None] - state["centroids"]), axis=-1)
    for number, centroid in enumerate(state["centroids"]):
        own = MOVED[nearest == number]
        mean = own.mean() if own.size and centroid else centroid
        assert updated[number] == pytest.approx(mean, rel=1e-5, abs=1e-7)
    value = clustered.quantize(MOVED, {"centroids": updated}, NUMPY)
    again = np.argmin(np.abs(MOVED[..., None] - updated), axis=-1)
    np.testing.assert_array_equal(value, updated[again])
    # On the codes of 8 bits they stay as few.
    eight = ClusteredQuantizer(UniformQuantizer(8), 6)
    state = eight.initial_state(WEIGHTS)
    codes = eight.quantize(MOVED, state, NUMPY) / state["step"]
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    assert len(np.unique(np.round(codes))) <= 6
