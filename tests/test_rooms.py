"""Arrows between the rooms of tfqkd point down only."""

import ast
import pathlib

import pytest

import tfqkd

ROOT = pathlib.Path(tfqkd.__file__).parent
ROOMS = (
    ("version", "compat", "lazy", "storage", "tables", "process"),
    ("core",),
    ("runtime",),
    ("data",),
    ("models",),
    ("fronts",),
    ("methods",),
    ("export", "progress"),
    ("recipe",),
    ("training",),
    ("study",),
    ("reporting",),
    ("cli",),
)
"""From the ground up; those of one floor do not know each other."""
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def known(path):
    """The rooms that a file imports from, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (m.split(".")[1] for m in modules if m and m.startswith("tfqkd."))


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_knows_only_itself_and_those_below(room):
    files = [ROOT / f"{room}.py", *sorted((ROOT / room).rglob("*.py"))]
    for path in (file for file in files if file.exists()):
        above = {name for name in known(path) if FLOORS[name] >= FLOORS[room]} - {room}
        assert not above, path


def test_every_room_has_its_floor():
    public_names_of_fronts = {"tfmot", "keras3", "__init__"}
    names = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names - {"__pycache__"} - public_names_of_fronts == set(FLOORS)
