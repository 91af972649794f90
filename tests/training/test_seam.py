"""The seam between training and a front: training asks by the agreed names and knows no Keras."""

import ast
import inspect
import pathlib
import subprocess
import sys

import pytest

import tfqkd
from tfqkd import fronts
from tfqkd.fronts.front import Front

from . import numpy_front

ROOT = pathlib.Path(tfqkd.__file__).parent
FRAMEWORKS = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "jax", "torch"}
CHOOSING = {
    "tfqkd.fronts",
    *(f"tfqkd.fronts.{n}" for n in ("foreign", "front", "settings", "terms", "trainer", "workers")),
}


def imports(path):
    """All modules that a file imports, wherever in it, and what it takes from packages."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, path
            yield node.module
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (n for n in names if (ROOT.parent / n.replace(".", "/")).exists())


def files(room):
    return sorted((ROOT / room).glob("*.py"))


@pytest.mark.parametrize("path", files("training"), ids=lambda path: path.name)
def test_training_imports_no_framework_and_no_front_but_the_choice(path):
    found = set(imports(path))
    assert not {name for name in found if name.split(".")[0] in FRAMEWORKS}
    assert "tfqkd.compat" not in found
    assert {name for name in found if name.startswith("tfqkd.fronts")} <= CHOOSING


def test_no_front_imports_training():
    for path in [*files("fronts"), *files("fronts/tfmot")]:
        assert not {name for name in imports(path) if name.startswith("tfqkd.training")}, path


def test_all_of_training_loads_without_a_framework():
    modules = [f"tfqkd.training.{path.stem}" for path in files("training")]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        f"print(sorted({FRAMEWORKS} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.splitlines()[-1] == "[]"


AGREED = sorted({name for name in vars(Front) if not name.startswith("_")} | {"CAPABILITIES"})


def test_the_front_that_is_chosen_has_the_agreed_names():
    # That they take and return what is agreed, the type checker sees: `tfqkd.fronts` says so.
    front = fronts.choose()
    assert [name for name in AGREED if not hasattr(front, name)] == []


@pytest.mark.parametrize("name", [name for name in AGREED if name != "CAPABILITIES"])
def test_the_front_of_these_tests_takes_what_is_agreed(name):
    def parameters(function):
        return [each for each in inspect.signature(function).parameters if each != "self"]

    found, agreed = parameters(getattr(numpy_front, name)), parameters(getattr(Front, name))
    assert found == agreed or found[-1] == "options"
