"""Runs the tests of the front itself on every backend that is installed, a process for each."""

import pytest

from tests.fronts.keras3.backends import BACKENDS, run_tests

FILES = [
    "test_model.py",
    "test_layer_kinds.py",
    "test_activations.py",
    "test_distiller.py",
    "test_training.py",
    "test_export.py",
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("file", FILES)
def test_the_front_works_on_the_backend(backend, file):
    run_tests(backend, file)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("file", FILES)
def test_the_front_works_on_the_backend_in_depth(backend, file):
    run_tests(backend, file, "slow")
