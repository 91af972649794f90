import errno
import os
import resource

import h5py
import numpy as np
import pytest

from tfqkd.compat import tf
from tfqkd.process.resources import explained


def message(error):
    with pytest.raises(RuntimeError) as raised, explained():
        raise error
    assert raised.value.__cause__ is error
    return str(raised.value)


@pytest.mark.parametrize(
    ("error", "received", "advice"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/x"),
            "[Errno 28] No space left on device: 'runs/a/x'",
            "Free some space; what was finished is kept, and the same command goes on with it.",
        ),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "Disk quota exceeded", "Free some"),
        (
            OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
            "No space left",
            "Free some space",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "state.data; No space left on device"),
            "state.data; No space left on device",
            "Free some space",
        ),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only", "Make it writable"),
        (
            tf.errors.FailedPreconditionError(None, None, "a; Read-only file system"),
            "a; Read-only file system",
            "Make it writable",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "'a'", "Make it accessible"),
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "data"),
            "'data'",
            "Put back what is missing",
        ),
        (
            tf.errors.NotFoundError(None, None, "x.tfrecord; No such file or directory"),
            "x.tfrecord",
            "Put back what is missing",
        ),
        (tf.errors.DataLossError(None, None, "corrupted record at 0"), "at 0", "Restore or remove"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error", "Repair the disk"),
    ],
)
def test_a_refusal_of_the_disk_is_one_message(error, received, advice):
    text = message(error)
    assert "Received: " in text
    assert received in text
    assert advice in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((10**9, 10**9), np.dtype("float32")),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
    ],
)
def test_an_allocation_that_fails_is_one_message(error):
    assert message(error).startswith("A run must fit into memory. Received: ")


def test_tensorflow_and_hdf5_say_what_is_recognised(tmp_path):
    """The texts above are what the libraries themselves raise."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(RuntimeError, match=r"File too large.*Raise the limit"), explained():
            tf.train.Checkpoint(v=tf.Variable(np.zeros(10**6))).write(str(tmp_path / "state"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(RuntimeError, match=r"Put back what is missing"), explained():
        h5py.File(tmp_path / "none" / "x.h5", "w")
    with pytest.raises(RuntimeError, match=r"Put back what is missing"), explained():
        list(tf.data.TFRecordDataset(str(tmp_path / "none.tfrecord")))


@pytest.mark.parametrize("error", [ValueError("x"), OSError("other"), KeyError("x")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as raised, explained():
        raise error
    assert raised.value is error
