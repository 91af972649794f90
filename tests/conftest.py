"""What must stand before TensorFlow is imported or a process started; how property tests are run."""

import gc
import os
import signal
import sys

import pytest
from hypothesis import settings

# Read when TensorFlow is imported: its convolution gradients take half the time with oneDNN.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# XLA makes tiny programs that run once or twice: it need not make them fast. Its newer emitters go through
# MLIR, and parts of a program through LLVM side by side: that takes most of what is left.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

# What a script starts in the background ignores SIGINT, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing that tests write has to outlast a loss of power, and a disk takes milliseconds to promise that.
os.fsync = lambda descriptor: None

# The first example traces a graph, and the machine may be busy: time says nothing about a property.
settings.register_profile("tfqkd", deadline=None, max_examples=50)
# Of `make test-slow`.
settings.register_profile("deep", deadline=None, max_examples=300)
settings.load_profile("tfqkd")


# Imports and tracing make objects by the hundred thousand, most of which stay: with Python's own thresholds,
# a twelfth of a test's time would go into looking at them again and again.
gc.set_threshold(100_000, 20, 100)


def pytest_collection_finish():
    """Keeps what is imported out of garbage collections: each conversion of LiteRT makes a full one."""
    _keep_out_of_collections()
    if "PYTEST_XDIST_WORKER" in os.environ and "tensorflow" in sys.modules:
        _operations_know_no_stack()
        from tests.known_outputs import trace_once

        trace_once()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Keeps what the tests of a module leave out of them too.

    TensorFlow and Keras forget little: after half of the suite, a full collection would take a second.
    """
    if nextitem is None or nextitem.path != item.path:
        _keep_out_of_collections()


def _keep_out_of_collections():
    gc.collect()
    gc.freeze()


def _operations_know_no_stack():
    """Gives every operation of a graph the stack of here as the one that it was made in.

    TensorFlow shows it where a graph fails, and copies the ninety frames of a test for each operation: a
    twentieth of the suite's time. With `-n 0` the stacks are the true ones.
    """
    from tensorflow.python.util import tf_stack

    here = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: here


@pytest.fixture(autouse=True, scope="session")
def first_steps_are_traced_once():
    """Makes the optimizer's variables before the first step of `fit`.

    Keras makes them within it, and TensorFlow then traces the step twice: a good part of what the small
    trainings of tests take.
    """
    if "tf_keras" not in sys.modules:
        yield
        return
    from tfqkd.compat import keras

    make = keras.Model.make_train_function

    def make_train_function(model, force=False):
        if isinstance(model.optimizer, keras.optimizers.Optimizer) and not hasattr(
            model, "student"
        ):
            model.optimizer.build(model.trainable_variables)
        return make(model, force)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "make_train_function", make_train_function)
        yield
