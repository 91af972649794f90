"""Runs bin/train in this process, and kills it or lets the disk refuse at a chosen moment.

Python tells its audit hooks of every file that is opened for writing, renamed, made or removed, before
it happens. The victim counts those in its run directory; nothing of this is known to tfqkd.

    python tests/faults/victim.py FAULT MOMENT --run_dir=... [other flags]

FAULT is kill, full (the disk) or none; MOMENT the number of the event, or with `s` the seconds after
the first. STAGE:MOMENT counts those of a stage's product only.
"""

import atexit
import errno
import os
import pathlib
import signal
import sys
import threading

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "shutil.copytree")


def install(fault: str, moment: str, run_dir: str) -> None:
    """Lets the fault happen at the moment, and writes to RUN_DIR.moments what was going on.

    A process that lives to its end writes how many events there were.
    """
    root, record = os.path.realpath(run_dir), pathlib.Path(f"{run_dir}.moments")
    stage, _, moment = moment.rpartition(":")
    count = 0

    def strike(event: str) -> None:
        with record.open("a") as file:
            file.write(f"{fault}\t{event}\n")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), event)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if not (event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITES)):
            return
        path = os.fspath(arguments[0]) if not isinstance(arguments[0], int) else ""
        path = os.path.realpath(os.fsdecode(path))
        if not path.startswith(root + os.sep) or stage not in path[len(root) :]:
            return
        count += 1
        named = f"{event} {os.path.relpath(path, root)}"
        if moment.endswith("s"):
            if count == 1:
                timer = threading.Timer(float(moment[:-1]), strike, ("at any time",))
                timer.daemon = True
                timer.start()
        # A disk that is full stays full.
        elif count == int(moment) or (fault == "full" and count > int(moment)):
            strike(named)

    def record_count() -> None:
        with record.open("a") as file:
            file.write(f"events\t{count}\n")

    sys.addaudithook(hook)
    atexit.register(record_count)


def main() -> int:
    """Runs the command; returns its exit status."""
    fault, moment, *flags = sys.argv[1:]
    run_dir = next(flag for flag in flags if flag.startswith("--run_dir=")).partition("=")[2]
    if fault != "none":
        install(fault, moment, run_dir)
    from tfqkd.cli.train import main as train

    return train(["bin/train", *flags])


if __name__ == "__main__":
    sys.exit(main())
