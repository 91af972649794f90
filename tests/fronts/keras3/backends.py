"""Child processes with a backend of Keras 3, which is fixed when Keras is imported."""

import importlib.util
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import pytest

ROOT = pathlib.Path(__file__).parents[3]
_PACKAGES = {"jax": "jax", "tensorflow": "tensorflow", "torch": "torch"}
_SLOW = {"torch"}

BACKENDS = [
    pytest.param(
        backend,
        marks=[
            pytest.mark.skipif(
                importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
            ),
            *([pytest.mark.slow] if backend in _SLOW else []),
        ],
    )
    for backend, package in _PACKAGES.items()
]


def slow_on(backend: str) -> list:
    """Returns `BACKENDS` for a test that takes long: it is slow on this one too."""
    return [
        pytest.param(
            *each.values, marks=[*each.marks, *([pytest.mark.slow] * (backend in each.values))]
        )
        for each in BACKENDS
    ]


def run(backend: str, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
    """Runs Python with a backend and returns what it printed; fails the test if it fails."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TFQKD_INSIDE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
        # Half of what these tests take on JAX is XLA, making tiny programs fast.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    # What a worker of pytest-xdist tells its own plugins, and `tfqkd.compat` TensorFlow.
    unwanted = ("PYTEST", "TF_USE_LEGACY_KERAS")
    environment = {k: v for k, v in environment.items() if not k.startswith(unwanted)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode not in allowed:
        pytest.fail(f"{arguments} on {backend}:\n{done.stdout[-8000:]}", pytrace=False)
    return done.stdout


def run_tests(
    backend: str, files: Sequence[str], marks: str = "not slow", without: Sequence[str] = ()
) -> str:
    """Runs tests of `inside` in one process with a backend: files, or single tests as FILE::TEST."""
    inside = pathlib.Path(__file__).parent / "inside"
    paths = [str(inside / file) for file in files]
    left_out = [f"--deselect={inside.relative_to(ROOT) / each}" for each in without]
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    # 5: no test of the files has the marks.
    return run(
        backend, "-m", "pytest", "-q", *plugins, "-m", marks, *left_out, *paths, allowed=(0, 5)
    )
