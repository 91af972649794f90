"""Packages that nobody imports in this process, whoever asks for them."""

import importlib.abc
import importlib.machinery
import sys
from typing import Any


class _KeptOut(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds packages that are installed, and refuses to load them."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        # Who only looks whether one is installed gets the answer.
        installed = name in self._names and importlib.machinery.PathFinder.find_spec(name)
        return importlib.machinery.ModuleSpec(name, self) if installed else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        raise ModuleNotFoundError(f"{spec.name} is kept out of this process", name=spec.name)

    def exec_module(self, module: Any) -> None:
        """Is never called."""


def keep_out(*packages: str) -> None:
    """Lets every later import of some packages fail as if they were not installed.

    Libraries import TensorFlow where it is installed only to ask whether an object is one of its: Keras when
    it saves or copies a layer, whatever its backend, TensorBoard when it opens a file. That takes seconds,
    half a gigabyte, and on a GPU the memory that another backend would train in.

    Args:
        packages: Names of the top level. One that is imported already stays.
    """
    sys.meta_path.insert(0, _KeptOut(frozenset(packages)))
