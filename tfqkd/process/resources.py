"""What a run needs of its machine: when it is refused, the error says what, and that nothing is lost."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfqkd.process.messages import first_line

_DISK = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Raise the limit of a file's size",
    errno.EROFS: "Make it writable, or give another --run_dir",
    errno.EACCES: "Make it accessible, or give another --run_dir",
    errno.EPERM: "Make it accessible, or give another --run_dir",
    errno.EIO: "Repair the disk",
    errno.ESTALE: "Mount it again",
    errno.ENOLCK: "Put it on storage that has locks",
    errno.EEXIST: "Give another --run_dir",
    errno.ENOTDIR: "Give another --run_dir",
    errno.ENOENT: "Put back what is missing",
}
_GO_ON = "what was finished is kept, and the same command goes on with it."


@contextmanager
def explained() -> Iterator[None]:
    """Turns a refusal of the system into one message, whichever library met it.

    TensorFlow and HDF5 write files by themselves and report the system's error as text.

    Raises:
        RuntimeError: For a full or read-only disk, a file that vanished or is damaged, for memory, and for a
            worker that is lost.
    """
    try:
        yield
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        raise told from error


def _told(error: Exception) -> RuntimeError | None:
    if isinstance(error, MemoryError):
        return _out_of_memory(error)
    # A command that has not loaded TensorFlow has none of its errors.
    errors = getattr(sys.modules.get("tensorflow"), "errors", None)
    from_tensorflow = errors is not None and isinstance(error, errors.OpError)
    advice = _disk_advice(error) if from_tensorflow or isinstance(error, OSError) else None
    if advice:
        return RuntimeError(
            f"Files must be readable and writable throughout. Received: {first_line(error)}. "
            f"{advice}; {_GO_ON}"
        )
    return _told_by_tensorflow(error, errors) if from_tensorflow else None


def _told_by_tensorflow(error: Exception, errors: Any) -> RuntimeError | None:
    if isinstance(error, errors.DataLossError):
        return RuntimeError(
            f"A file must hold what was written to it. Received: {first_line(error)}. "
            f"Restore or remove it; {_GO_ON}"
        )
    if isinstance(
        error, (errors.UnavailableError, errors.AbortedError, errors.DeadlineExceededError)
    ):
        return RuntimeError(
            f"All workers must keep running and reach each other. Received: {first_line(error)}. Read what "
            f"the others printed, and start all of them again; {_GO_ON}"
        )
    return _out_of_memory(error) if isinstance(error, errors.ResourceExhaustedError) else None


def _out_of_memory(error: Exception) -> RuntimeError:
    return RuntimeError(
        f"A run must fit into memory. Received: {first_line(error)}. "
        f"Free some memory, or start over with a smaller --training.batch_size; {_GO_ON}"
    )


def _disk_advice(error: Exception) -> str | None:
    number = getattr(error, "errno", None)
    if number in _DISK:
        return _DISK[number]
    if getattr(error, "filename", None) is not None:
        return "Fix what the error names"
    text = str(error)
    return next((_DISK[number] for number in _DISK if os.strerror(number) in text), None)
