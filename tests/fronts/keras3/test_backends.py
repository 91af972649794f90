"""Runs the tests of the front itself on every backend that is installed, a process for each."""

import importlib.util

import pytest

from tests.fronts.keras3.backends import BACKENDS, run_tests

BASIC = ["test_model.py", "test_fused_batch_norm.py", "test_distiller.py", "test_checks.py"]
MORE = ["test_layer_kinds.py", "test_activations.py", "test_training.py"]
MORE += ["test_terms.py", "test_strategy.py"]
METHODS = ["test_balanced.py", "test_raised.py", "test_filters.py"]
"""Methods with a mechanism of their own; slow."""
FILES = ["test_export.py"]
DEEP = ["test_stages.py", "test_keras_hub.py", "test_every_other.py"]
OF_THE_PAGE = ["test_keras_distillation.py", "test_differences.py"]
"""What docs/keras3.md says of the backends and of Keras; slow."""
AS_ON_JAX = [
    "test_checks.py",
    "test_model.py::test_models_within_a_model_keep_their_structure",
    "test_model.py::test_frozen_layers_stay_frozen",
    "test_model.py::test_a_weights_file_goes_into_a_model_quantized_alike",
    "test_model.py::test_a_subclassed_model_is_one_unit",
    "test_distiller.py::test_soft_losses_are_those_of_the_core",
    "test_distiller.py::test_tasks_are_read_off_the_loss",
    "test_distiller.py::test_the_control_asks_no_teacher",
    "test_distiller.py::test_losses_of_layers_count_once",
    "test_distiller.py::test_a_schedule_may_be_longer_than_its_table",
    "test_distiller.py::test_a_callback_assigns_inside_an_epoch",
    "test_distiller.py::test_a_teacher_is_an_argument_of_the_step_and_in_no_file[function]",
    "test_distiller.py::test_a_teacher_is_an_argument_of_the_step_and_in_no_file[partial]",
    "test_distiller.py::test_a_teacher_is_an_argument_of_the_step_and_in_no_file[object]",
    "test_distiller.py::test_a_float32_teacher_teaches_a_float16_student",
    "test_distiller.py::test_logits_may_come_with_the_batch",
    "test_distiller.py::test_validation_and_evaluate_are_the_students",
    "test_distiller.py::test_an_interrupted_training_goes_on_where_it_was",
    "test_distiller.py::test_schedules_by_step_and_by_epoch_trace_nothing_anew",
    "test_distiller.py::test_a_step_logs_the_means_of_its_epoch_so_far",
    "test_distiller.py::test_checkpoints_hold_weights_and_files_are_refused",
    "test_distiller.py::test_a_teacher_of_other_classes_is_refused",
]
"""What no backend has a part in, or takes long; in the quick run JAX shows it, where it is installed."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_front_works_on_the_backend(backend):
    if backend != "tensorflow":
        run_tests(backend, [*BASIC, *MORE, *FILES])
    elif importlib.util.find_spec("jax"):
        run_tests(backend, BASIC, without=AS_ON_JAX)
    else:
        run_tests(backend, BASIC)


@pytest.mark.slow
def test_the_rest_of_the_front_works_on_tensorflow():
    run_tests("tensorflow", [*AS_ON_JAX, *MORE, *FILES])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_method_works_on_the_backend(backend):
    run_tests(backend, METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("file", [*BASIC, *MORE, *METHODS, *FILES, *DEEP, *OF_THE_PAGE])
def test_the_front_works_on_the_backend_in_depth(backend, file):
    run_tests(backend, [file], "slow")
