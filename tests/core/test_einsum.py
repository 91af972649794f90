import pytest

from tfqkd.core.einsum import channel_axes


@pytest.mark.parametrize(
    ("equation", "axes"),
    [("ab,bc->ac", (1,)), ("abc,cde->abde", (1, 2)), ("abcd,cde->abe", (2,)), ("a b, b -> a", ())],
)
def test_channels_are_what_the_kernel_alone_brings(equation, axes):
    assert channel_axes(equation) == axes
