import subprocess
import sys
import time

import pytest

SLEEPER = """
import pathlib, subprocess, sys, time

def main(folder):
    if (folder / "long").exists():
        # What it has started must end too: it holds the output open.
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        (folder / "began").touch()
        time.sleep(60)
    (folder / "ended").touch()
"""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (folder := tmp_path / "folder").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")

    def begun(*marks):
        for mark in marks:
            (folder / mark).touch()
        child = subprocess.Popen(
            [sys.executable, "-m", "tfqkd.process.child", "sleeper", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return child, folder

    return begun


def test_a_child_ends_with_its_parent_and_what_it_has_started_with_it(begin):
    child, folder = begin("long")
    end = time.monotonic() + 30
    while not (folder / "began").exists() and time.monotonic() < end:
        time.sleep(0.01)
    # As when the process that holds it ends.
    child.stdin.close()
    assert child.stdout.read() == b""
    assert child.wait(30) == -9
    assert not folder.exists()


def test_a_child_makes_what_it_is_asked_for(begin):
    child, folder = begin()
    assert child.wait(30) == 0
    assert (folder / "ended").exists()
    child.stdin.close()
    child.stdout.close()
