"""What must stand before TensorFlow is imported or a process started; how property tests are run."""

import gc
import os
import signal

import pytest
from hypothesis import settings

# Read when TensorFlow is imported: its convolution gradients take half the time with oneDNN.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# XLA makes tiny programs that run once or twice: it need not make them fast.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

# What a script starts in the background ignores SIGINT, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
