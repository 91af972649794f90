"""Runs a module in a process that ends with its parent: `python -m tfqkd.process.child MODULE FOLDER`."""

import importlib
import os
import pathlib
import shutil
import signal
import sys
import threading

_STDIN = 0


def end_with_parent(folder: pathlib.Path) -> None:
    """Ends this process, and those that it has started, when the one that holds its stdin has ended.

    Args:
        folder: What the parent would have deleted.
    """

    def watch() -> None:
        # Nothing is ever written there.
        os.read(_STDIN, 1)
        shutil.rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    module, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    # Before what is slow to import.
    end_with_parent(folder)
    importlib.import_module(module).main(folder)
