"""Image files as batches of pixels."""

import io
import pathlib

import numpy as np

try:
    from PIL import Image, ImageOps
except ImportError as error:
    raise ImportError(
        "Image files need the package pillow. Received: an environment without it. "
        "Install it with: pip install pillow"
    ) from error

SUFFIXES = (".jpeg", ".jpg", ".png")
READABLE = ("An image must be a readable PNG or JPEG file.", "Convert it, or leave it out.")
"""The rule of a file that is to be read, and what to do with another."""
_MODES = {1: "L", 3: "RGB"}
_GREY_MODES = ("1", "L", "LA")
# Pillow has no common base for what a damaged file or a bomb raises.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class UnreadablePictureError(ValueError):
    """A file is no image that can be read."""


def find_pictures(path: str) -> list[pathlib.Path]:
    """Returns an image file, or all PNG and JPEG files in a directory by name.

    Args:
        path: A file or directory.

    Raises:
        ValueError: If there is none.
    """
    source = pathlib.Path(path)
    if source.is_dir():
        found = sorted(file for file in source.iterdir() if file.suffix.lower() in SUFFIXES)
    else:
        found = [source] if source.is_file() else []
    if not found:
        raise ValueError(
            "`images` must name PNG or JPEG files, or directories that hold some. "
            f"Received: {path}, {_why_none(source)}."
        )
    return found


def _why_none(source: pathlib.Path) -> str:
    if not source.exists():
        return "where there is none. Check the path"
    folders = [entry for entry in sorted(source.iterdir()) if entry.is_dir()]
    if folders:
        return f"whose folders are not looked into. Name them, such as {folders[0]}"
    return "where there is none. Check the path"


def open_picture(path: pathlib.Path) -> Image.Image:
    """Decodes an image file, and rotates the image as its EXIF orientation says.

    Args:
        path: A PNG or JPEG file.

    Returns:
        The image, grey (mode L) or RGB, 8 bits a channel: of 16 bits, as PNG may have, the upper half is
        kept. Transparency is left out: a pixel has the colour that the file stores for it.

    Raises:
        UnreadablePictureError: If it is no image, or far larger than any photograph.
    """
    try:
        # Read at once: a decoder asks for a file's bytes in many pieces.
        with Image.open(io.BytesIO(path.read_bytes()), formats=("PNG", "JPEG")) as file:
            file.load()
            # In place: a copy takes as long as to decode it.
            ImageOps.exif_transpose(file, in_place=True)
            image: Image.Image = file
    except _UNREADABLE as error:
        raise UnreadablePictureError(
            f"{READABLE[0]} Received: {path}: {error}. {READABLE[1]}"
        ) from error
    if image.mode.startswith("I"):
        # Pillow would cut values off at 255.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _GREY_MODES:
        return in_mode(image, "L")
    if image.mode == "P" and "transparency" in image.info:
        # Straight to RGB Pillow would warn of what it leaves out.
        image = image.convert("RGBA")
    return in_mode(image, "RGB")


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Returns an image in a mode of Pillow's; itself, not a copy, where it has it already."""
    return image if image.mode == mode else image.convert(mode)


def has_colour(path: pathlib.Path) -> bool:
    """Whether an image file is an RGB one for `open_picture`; its pixels are not decoded.

    Args:
        path: A file; one that is no image has no colour.
    """
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            return not (file.mode.startswith("I") or file.mode in _GREY_MODES)
    except _UNREADABLE:
        return False


def middle(stored: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns the largest part in the middle of an image that has the proportions of a size.

    Args:
        stored: Height and width of the image.
        size: Those that it is to have.

    Returns:
        Top, left, height and width.
    """
    height, width = stored
    high = min(height, round(width * (size[0] / size[1])))
    wide = min(width, round(height * (size[1] / size[0])))
    return (height - high) // 2, (width - wide) // 2, high, wide


def to_pixels(image: Image.Image, shape: tuple[int, ...], centre_crop: bool = False) -> np.ndarray:
    """Returns an image as a model takes it.

    Args:
        image: The image.
        shape: (H, W, C) of the model's images, C 1 or 3. Colours are converted, and an image of
            another size is resized: bilinear, antialiased, without keeping its proportions.
        centre_crop: Whether the part in the middle that has the new proportions is resized, not the whole.

    Returns:
        uint8 [H, W, C].
    """
    height, width, channels = shape
    if centre_crop:
        top, left, high, wide = middle((image.height, image.width), (height, width))
        image = image.crop((left, top, left + wide, top + high))
    image = in_mode(image, _MODES[channels])
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(height, width, channels)


def read_picture(
    path: pathlib.Path, shape: tuple[int, ...], centre_crop: bool = False
) -> np.ndarray:
    """Reads an image file as a model takes it.

    Args:
        path: A PNG or JPEG file; `open_picture` says how it is decoded.
        shape: (H, W, C) of the model's images; `to_pixels` says how it gets there.
        centre_crop: As for `to_pixels`.

    Returns:
        uint8 [H, W, C].

    Raises:
        UnreadablePictureError: If it is no image, or far larger than any photograph.
        ValueError: If the model takes another number of channels.
    """
    if shape[-1] not in _MODES:
        raise ValueError(
            "Image files have 1 or 3 channels. "
            f"Received: a model that takes {shape[-1]}. Call it from Python with your own arrays."
        )
    return to_pixels(open_picture(path), shape, centre_crop)
