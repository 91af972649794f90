import numpy as np
import pytest
from PIL import Image

from tfqkd.runtime.pictures import (
    UnreadablePictureError,
    find_pictures,
    has_colour,
    open_picture,
    read_picture,
)


def test_a_png_is_read_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", (4, 6, 3)), pixels)


def test_colours_are_converted_and_sizes_matched(tmp_path):
    Image.new("RGBA", (9, 5), (255, 0, 0, 128)).save(tmp_path / "a.png")
    red = read_picture(tmp_path / "a.png", (4, 6, 3))
    np.testing.assert_array_equal(red, np.broadcast_to([255, 0, 0], (4, 6, 3)))
    # The luma of red, ITU-R 601: 0.299.
    grey = read_picture(tmp_path / "a.png", (2, 2, 1))
    assert grey.shape == (2, 2, 1) and set(grey.ravel().tolist()) == {round(0.299 * 255)}


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, lambda x: x), (3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1))],
)
def test_what_a_camera_noted_turns_the_image_upright(tmp_path, orientation, turned):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    noted = Image.Exif()
    noted[0x0112] = orientation  # TIFF 6.0, tag Orientation.
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=noted)
    expected = turned(pixels)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", expected.shape), expected)


def test_of_16_bits_the_upper_half_is_kept(tmp_path):
    values = np.array([[0, 255, 256, 0x7FFF, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", (1, 5, 1)).ravel().tolist() == [0, 0, 1, 127, 255]


def test_a_jpeg_is_close(tmp_path):
    Image.new("RGB", (8, 8), (10, 200, 30)).save(tmp_path / "a.jpg", quality=95)
    pixels = read_picture(tmp_path / "a.jpg", (8, 8, 3)).astype(int)
    assert np.abs(pixels - [10, 200, 30]).max() <= 4


def test_directories_give_their_images_by_name(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_pictures(str(tmp_path))] == ["a.JPG", "b.png"]


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    Image.new("L", (50, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadablePictureError, match=r"Received: .*a\.png: Image size \(2500"):
        read_picture(tmp_path / "a.png", (4, 4, 1))


@pytest.mark.parametrize("kept", [8, 20, 40, 60, 0.5, 0.9])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_an_image_that_is_cut_short_is_refused(tmp_path, name, kept):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: kept if kept >= 1 else int(kept * len(content))])
    with pytest.raises(UnreadablePictureError, match=f"Received: .*{name}"):
        read_picture(tmp_path / name, (30, 30, 3))


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match=r"Received: .*a\.png"):
        read_picture(tmp_path / "a.png", (4, 4, 3))
    with pytest.raises(ValueError, match="a model that takes 2"):
        read_picture(tmp_path / "a.png", (4, 4, 2))
    with pytest.raises(ValueError, match="where there is none"):
        find_pictures(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("mode", "colour"),
    [("1", 0), ("L", 0), ("LA", 0), ("I;16", 0), ("P", 1), ("RGB", 1), ("RGBA", 1)],
)
def test_a_picture_is_grey_or_rgb(tmp_path, mode, colour):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    assert has_colour(tmp_path / "a.png") == bool(colour)
    assert open_picture(tmp_path / "a.png").mode == ("RGB" if colour else "L")


def test_what_is_no_image_has_no_colour(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    assert not has_colour(tmp_path / "a.png")
