import pytest

from tfqkd.core.weights import is_weight, ratio_of, require_weight


def test_a_weight_is_a_number_or_a_ratio_of_gradients():
    assert [ratio_of(each) for each in (2.0, "balanced:0.5")] == [None, 0.5]
    for each in (0, 2.5, "balanced:1", "balanced:1e-3"):
        assert is_weight(each)
    for each in (
        -1,
        float("inf"),
        "balanced",
        "balanced:0",
        "balanced:nan",
        "1",
        "balanced:x",
        None,
    ):
        assert not is_weight(each)
    with pytest.raises(ValueError, match=r"`w` must be 0 or more.*Received: `w`=balanced:-1"):
        require_weight("`w`", "balanced:-1")
