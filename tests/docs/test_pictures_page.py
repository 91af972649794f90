"""The pictures of docs/ are what their script draws of the code as it is."""

import pathlib
import runpy
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs" / "pictures"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    sys.path.insert(0, str(FOLDER))  # As for a script, which finds what lies beside it.
    try:
        draw = runpy.run_path(str(FOLDER / "draw.py"))["draw"]
    finally:
        sys.path.remove(str(FOLDER))
    draw(folder)
    return folder


def test_the_script_draws_every_picture_that_is_kept(drawn):
    kept = {path.name for path in FOLDER.glob("*.svg")}
    assert {path.name for path in drawn.iterdir()} == kept


def test_a_picture_is_the_same_bytes_again(drawn):
    changed = [
        path.name
        for path in drawn.iterdir()
        if path.read_bytes() != (FOLDER / path.name).read_bytes()
    ]
    assert not changed, "python docs/pictures/draw.py"
