"""SIGTERM and SIGINT: a training finishes its step and keeps it; everything else stops where it is."""

import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop, and its work can be resumed.

    Attributes:
        number: The signal; 128 plus it is the exit status by convention.

    Args:
        number: The signal.
        where: What was finished and kept, if anything.
    """

    def __init__(self, number: int, where: str = "") -> None:
        self.number = number
        after = f" after {where}" if where else ""
        super().__init__(f"Stopped by {signal.Signals(number).name}{after}.")


class _State:
    """What the handlers know; signals belong to the process, so there is one."""

    requested: int | None = None
    deferring = False


@contextmanager
def orderly() -> Iterator[None]:
    """Lets the first SIGTERM or SIGINT raise `Interrupted`, a second one end the process at once.

    Inside `deferred` the first one is only noted, for `requested`. Outside the main thread, where Python
    handles no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handle) for number in _SIGNALS}
    try:
        yield
    finally:
        _State.requested = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal waits until it is asked for by `requested`, or until the end.

    Raises:
        Interrupted: At the end, if nobody asked for a signal that came.
    """
    _State.deferring = True
    try:
        yield
    finally:
        _State.deferring = False
    if _State.requested is not None:
        raise Interrupted(_State.requested)


def keep_handlers() -> None:
    """Puts Python's handlers back where native code has put its own, as TensorFlow does for a cluster."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if handler is not None:
                signal.signal(number, handler)


def requested() -> int | None:
    """Returns the signal that asked the process to stop, if one did."""
    return _State.requested


def _handle(number: int, frame: types.FrameType | None) -> None:
    # The kernel's own handling needs no Python: a second signal also ends a long call into TensorFlow.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    _State.requested = number
    if not _State.deferring:
        raise Interrupted(number)
