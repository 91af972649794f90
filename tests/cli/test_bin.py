"""The programs in bin/: thin, and at home in every directory."""

import importlib
import os
import pathlib
import runpy
import subprocess
import sys

import pytest
import setuptools

BIN = pathlib.Path(__file__).resolve().parents[2] / "bin"
PROGRAMS = ("train", "evaluate", "export", "predict", "products", "study", "doctor")


def call(program, *arguments, cwd):
    """Runs a program in this Python, as in an active virtual environment."""
    environment = {
        **os.environ,
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        [BIN / program, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_has_a_program():
    assert {entry.name for entry in BIN.iterdir()} == set(PROGRAMS)
    assert all(os.access(BIN / program, os.X_OK) for program in PROGRAMS)


def test_pip_installs_a_command_for_every_program(monkeypatch):
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **values: given.update(values))
    runpy.run_path(str(BIN.parent / "setup.py"))
    scripts = dict(entry.split("=") for entry in given["entry_points"]["console_scripts"])
    assert set(scripts) == {f"tfqkd-{program}" for program in PROGRAMS}
    for name, target in scripts.items():
        module, function = target.split(":")
        assert module == f"tfqkd.cli.{name.removeprefix('tfqkd-')}"
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_from_another_directory(program, tmp_path):
    child = call(program, "--help", cwd=tmp_path)
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.startswith(f"NAME\n    {program}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_exit_status_is_handed_on(tmp_path):
    child = call("train", "--temperature=-1", cwd=tmp_path)
    assert (child.returncode, child.stdout) == (2, "")
    assert child.stderr.startswith("train: error: `temperature` must be above 0.")


def test_arguments_with_spaces_stay_whole(tmp_path):
    child = call("evaluate", "--run_dir=no such directory", cwd=tmp_path)
    assert child.returncode == 2
    assert "run_dir='no such directory'" in child.stderr


def test_modules_of_the_working_directory_are_not_imported(tmp_path):
    for name in ("tfqkd", "absl", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user')")
    child = call("train", "--help", cwd=tmp_path)
    assert (child.returncode, child.stderr) == (0, "")


@pytest.mark.parametrize("active", [True, False])
def test_the_environment_that_make_made_is_used_unless_another_is_active(tmp_path, active):
    for directory in ("bin", ".venv/bin", "active/bin"):
        (tmp_path / directory).mkdir(parents=True)
    program = tmp_path / "bin" / "train"
    program.write_bytes((BIN / "train").read_bytes())
    for interpreter in (".venv/bin/python", "active/bin/python3"):
        (tmp_path / interpreter).write_text('#!/bin/sh\necho "$0 $* $PYTHONPATH"\n')
        (tmp_path / interpreter).chmod(0o755)
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}/active/bin:/usr/bin:/bin", "PYTHONPATH": "/users/own"}
    if active:
        environment["VIRTUAL_ENV"] = f"{tmp_path}/active"
    child = subprocess.run(
        [program, "--bits=4"], env=environment, capture_output=True, text=True, check=True
    )
    interpreter = "active/bin/python3" if active else ".venv/bin/python"
    assert child.stdout == (
        f"{tmp_path}/{interpreter} -P -m tfqkd.cli.train --bits=4 {tmp_path}:/users/own\n"
    )


def test_without_its_environment_a_program_says_how_to_get_one(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "train"
    program.write_bytes((BIN / "train").read_bytes())
    program.chmod(0o755)
    (tmp_path / "python3").write_text("#!/bin/sh\necho 'No module named absl' >&2\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    child = subprocess.run(
        [program, "--help"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stdout) == (1, "")
    assert child.stderr == (
        "train: error: The packages of tfqkd must be installed. Received: python3 without them. "
        "Run make quickstart or make test once, or activate the environment that has them.\n"
    )
