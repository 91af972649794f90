"""What is on the disk when the power goes."""

import os
import pathlib


def sync(path: pathlib.Path) -> None:
    """Makes a file, or the names in a directory, outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
