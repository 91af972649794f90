"""Packages that a process does without, whoever asks for them."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import importlib.util
import sys
from tfqkd.process.kept_out import keep_out

keep_out("wave", "no_such_package", "json")
found = {name: importlib.util.find_spec(name) is not None for name in ("wave", "no_such_package")}
for name in ("wave", "wave.inner", "no_such_package"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        found[f"import {name}"] = str(error)
import json, colorsys
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    child = subprocess.run(
        [sys.executable, "-c", f"import json\n{SCRIPT}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(child.stdout)


def test_what_is_kept_out_is_not_imported_and_still_known_as_installed(found):
    assert found["wave"] is True
    assert found["import wave"] == "wave is kept out of this process"
    assert found["import wave.inner"] == "wave is kept out of this process"


def test_what_is_not_installed_stays_so(found):
    assert found["no_such_package"] is False
    assert found["import no_such_package"] == "No module named 'no_such_package'"
