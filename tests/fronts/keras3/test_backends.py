"""Runs the tests of the front itself on every backend that is installed, a process for each."""

import pytest

from tests.fronts.keras3.backends import BACKENDS, run_tests

BASIC = ["test_model.py", "test_fused_batch_norm.py", "test_distiller.py", "test_checks.py"]
METHODS = ["test_terms.py", "test_place.py"]
MORE = ["test_layer_kinds.py", "test_activations.py", "test_training.py", *METHODS]
FILES = ["test_export.py"]
DEEP = ["test_stages.py", "test_keras_hub.py"]
OF_THE_PAGE = ["test_keras_distillation.py", "test_differences.py"]
"""What docs/keras3.md says of the backends and of Keras; slow."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_front_works_on_the_backend(backend):
    run_tests(backend, BASIC if backend == "tensorflow" else [*BASIC, *MORE, *FILES])


@pytest.mark.slow
def test_the_rest_of_the_front_works_on_tensorflow():
    run_tests("tensorflow", [*MORE, *FILES])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("file", [*BASIC, *MORE, *FILES, *DEEP, *OF_THE_PAGE])
def test_the_front_works_on_the_backend_in_depth(backend, file):
    run_tests(backend, [file], "slow")
