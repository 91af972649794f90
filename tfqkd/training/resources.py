"""What a run needs of its machine: when it is refused, the error says what, and that nothing is lost."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tfqkd.compat import tf

_DISK = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Raise the limit of a file's size",
    errno.EROFS: "Make it writable, or give another --run_dir",
    errno.EACCES: "Make it accessible, or give another --run_dir",
    errno.EPERM: "Make it accessible, or give another --run_dir",
    errno.EIO: "Mend the disk",
    errno.EEXIST: "Give another --run_dir",
    errno.ENOTDIR: "Give another --run_dir",
    errno.ENOENT: "Put back what is missing",
}
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
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
    except MemoryError as error:
        raise _out_of_memory(error) from error
    except (OSError, tf.errors.OpError) as error:
        found = _disk_error(error)
        if found:
            raise RuntimeError(
                f"Files must be readable and writable throughout a run. Received: {_first_line(error)}. "
                f"{_DISK[found]}; {_GO_ON}"
            ) from error
        if isinstance(error, tf.errors.DataLossError):
            raise RuntimeError(
                f"A file must hold what was written to it. Received: {_first_line(error)}. "
                f"Restore or remove it; {_GO_ON}"
            ) from error
        if isinstance(error, _LOST):
            raise RuntimeError(
                f"All workers must live and reach each other. Received: {_first_line(error)}. See what the "
                f"others printed, and start all of them again; {_GO_ON}"
            ) from error
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise _out_of_memory(error) from error
        raise


def _out_of_memory(error: Exception) -> RuntimeError:
    return RuntimeError(
        f"A run must fit into memory. Received: {_first_line(error) or 'an allocation that failed'}. "
        f"Free some memory, or start over with a smaller --batch_size; {_GO_ON}"
    )


def _disk_error(error: Exception) -> int | None:
    number = getattr(error, "errno", None)
    if number in _DISK:
        return number
    text = str(error)
    return next((number for number in _DISK if os.strerror(number) in text), None)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else ""
