import psutil
import pytest

from tfqkd.data.sizing import is_streamed, plain_size, sides


def test_images_take_half_of_the_available_memory_or_are_streamed(monkeypatch):
    class Memory:
        available = 2 * 100 * 4 * 4 * 3

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    for stream, fits, larger in (("auto", False, True), ("on", True, True)):
        assert is_streamed(stream, "set", 100, (4, 4, 3)) == fits
        assert is_streamed(stream, "set", 101, (4, 4, 3)) == larger
    assert not is_streamed("off", "set", 100, (4, 4, 3))
    with pytest.raises(ValueError, match=r"'set', 101 images of \(4, 4, 3\).*`image_size`"):
        is_streamed("off", "set", 101, (4, 4, 3))


def test_a_size_is_a_side_or_height_and_width():
    assert [plain_size(size) for size in (0, "32", "32x32", "24x32")] == [0, 32, 32, "24x32"]
    assert [sides(size) for size in (0, 32, "32", "24x32")] == [None, (32, 32), (32, 32), (24, 32)]


@pytest.mark.parametrize("size", ["", "x", "24x", "0x8", "8x0", "1e3", "8x8x3", " 8", "9" * 30])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(
        ValueError, match=r"`image_size` must be .*HEIGHTxWIDTH. Received: image_size="
    ):
        sides(size)
