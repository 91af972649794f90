"""Runs bin/train in this process, and lets a fault happen to it at a chosen moment.

Python tells its audit hooks of every file that is opened for writing, renamed, made or removed, before
it happens. The victim counts those in its run directory; nothing of this is known to tfqkd. TensorFlow
writes the state of a checkpoint without Python: a moment inside that is one some milliseconds after the
directory of the checkpoint was made.

    python tests/faults/victim.py FAULT MOMENT --run_dir=... [other flags]
    python tests/faults/victim.py serve 2    # a victim of this Keras for each line of standard input

FAULT is kill, term, int (signals), full, readonly (the disk, from then on, for Python), size (the disk, for
TensorFlow too) or none. MOMENT is [STAGE:][c]NUMBER[+SECONDS]: the event of that number, or with `c` the
checkpoint, and so many seconds later. STAGE counts those of a stage's product only; a stage that is over
before its moment comes is struck when its product is to be made whole.
"""

import atexit
import errno
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import threading

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "shutil.copytree")
_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
_REFUSALS = {"full": errno.ENOSPC, "readonly": errno.EROFS}
_LARGEST_FILE = 4096  # Less than any checkpoint.


class Fault:
    """What happens, and when; see the module.

    Args:
        kind: FAULT.
        moment: MOMENT.
        run_dir: Whose changes are counted; RUN_DIR.moments gets what was going on, or how many there were.
    """

    def __init__(self, kind: str, moment: str, run_dir: str) -> None:
        self._kind, self._root = kind, os.path.realpath(run_dir)
        self._record = pathlib.Path(f"{run_dir}.moments")
        self._stage, _, moment = moment.rpartition(":")
        moment, _, seconds = moment.partition("+")
        self._of_checkpoints = moment.startswith("c")
        self._number, self._seconds = int(moment.removeprefix("c")), float(seconds or 0)
        self._count, self._struck = 0, False
        sys.addaudithook(self._see)
        atexit.register(lambda: self._write(f"events\t{self._count}"))

    def _see(self, event: str, arguments: tuple) -> None:
        if not (event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITES)):
            return
        path = os.fspath(arguments[0]) if not isinstance(arguments[0], int) else ""
        path = os.path.realpath(os.fsdecode(path))
        if not path.startswith(self._root + os.sep):
            return
        place = os.path.relpath(path, self._root)
        if self._struck:
            self._refuse(path)
        elif self._stage in f"/{place}":
            counts = not self._of_checkpoints or (
                event == "os.mkdir" and pathlib.Path(path).name.startswith("epoch")
            )
            self._count += counts
            if counts and self._count == self._number:
                self._struck = True
                self._strike(f"{event} {place}", path)
            elif self._ends_stage(event, path):
                self._struck = True
                self._seconds = 0.0
                self._strike(f"{event} {place}", path)

    def _ends_stage(self, event: str, path: str) -> bool:
        return bool(
            self._kind in _SIGNALS
            and self._stage
            and event == "os.rename"
            and pathlib.Path(path).name.startswith(self._stage)
            and pathlib.Path(path).is_dir()
        )

    def _strike(self, event: str, path: str) -> None:
        if self._kind in _SIGNALS:
            if self._seconds:
                timer = threading.Timer(self._seconds, self._send, (f"after {event}",))
                timer.daemon = True
                timer.start()
            else:
                self._send(event)
        else:
            self._write(f"{self._kind}\t{event}")
            if self._kind == "size":
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, hard))
            self._refuse(path)

    def _send(self, event: str) -> None:
        # What lies in a checkpoint that is not whole says how far TensorFlow has come.
        inside = [
            file.name
            for file in pathlib.Path(self._root).glob("products/*/checkpoints/*.partial/*")
        ]
        self._write(f"{self._kind}\t{event}\t{' '.join(sorted(inside))}")
        os.kill(os.getpid(), _SIGNALS[self._kind])

    def _refuse(self, path: str) -> None:
        if self._kind in _REFUSALS:
            number = _REFUSALS[self._kind]
            raise OSError(number, os.strerror(number), path)

    def _write(self, line: str) -> None:
        with self._record.open("a") as file:
            file.write(line + "\n")


def keep_slots(run_dir: str) -> None:
    """Copies the last checkpoint of each product to RUN_DIR.slots before it is removed with the others."""
    products = pathlib.Path(os.path.realpath(run_dir), "products")

    def see(event: str, arguments: tuple) -> None:
        if event != "shutil.rmtree":
            return
        checkpoints = pathlib.Path(os.path.realpath(os.fspath(arguments[0])))
        product = checkpoints.parent
        if checkpoints.name != "checkpoints" or product.parent != products:
            return
        copy = pathlib.Path(f"{run_dir}.slots", product.name)
        # The rest of a removal that was killed: its first checkpoints may be gone.
        if not copy.exists():
            last = max(checkpoints.glob("epoch*"))
            partial = copy.with_suffix(".partial")
            shutil.copytree(last, partial / last.name, dirs_exist_ok=True)
            partial.rename(copy)

    sys.addaudithook(see)


def serve(keras: int) -> int:
    """Forks a victim for each request, and prints its exit status; -9 if it was killed.

    TensorFlow, or Keras 3 with its backend, is imported before, which takes most of a victim's time, and not
    used: a victim computes nothing that another one has begun. A request is a JSON object: `arguments`, the
    files `out` and `err`.
    """
    from tfqkd.cli.command import load_keras

    load_keras(keras)
    import sklearn.datasets  # noqa: F401 (loaded before the fork)

    import tfqkd.reporting.run_page
    import tfqkd.training.run  # noqa: F401 (loaded before the fork)

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            for descriptor, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            return main(request["arguments"])
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    fault, moment, *flags = arguments
    run_dir = next(flag for flag in flags if flag.startswith("--run_dir=")).partition("=")[2]
    keep_slots(run_dir)
    if fault != "none":
        Fault(fault, moment, run_dir)
    from tfqkd.cli.train import main as train

    return train(["bin/train", *flags])


if __name__ == "__main__":
    serves = sys.argv[1:2] == ["serve"]
    sys.exit(serve(int(sys.argv[2])) if serves else main(sys.argv[1:]))
