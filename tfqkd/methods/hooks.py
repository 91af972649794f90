"""The hooks of a stage's methods, as a training calls them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.fronts.front import Front, Model
from tfqkd.fronts.settings import Capabilities
from tfqkd.fronts.terms import Term
from tfqkd.fronts.trainer import Watcher
from tfqkd.fronts.view import View
from tfqkd.methods.method import Method


class Hooks(Watcher):
    """Calls methods between epochs; a checkpoint is written after it.

    Args:
        methods: In the order in which they are called.
        view: Of the training.
    """

    def __init__(self, methods: Sequence[Method], view: View) -> None:
        self._methods = methods
        self._view = view
        for method in methods:
            method.prepare(view)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Calls each method's `epoch_end`."""
        for method in self._methods:
            method.epoch_end(self._view, epoch)

    def finish(self) -> None:
        """Calls each method's `finish`: once, after the last epoch."""
        for method in self._methods:
            method.finish(self._view)


def terms_of(
    methods: Sequence[Method],
    front: Front,
    student: Model,
    teachers: Sequence[Model],
    build: Callable[[str | None, int], Model],
    twin: Callable[[], Model],
) -> list[Term]:
    """Returns what the methods of a stage add to its loss.

    Args:
        methods: Of the stage.
        front: Whose models these are.
        student: As it trains.
        teachers: Live ones.
        build: Makes another network for the same data: its name, None for the student's own, and a seed.
        twin: Makes another student, quantized alike.
    """
    shown = dataclasses.replace(front.network(student, build), twin=twin)
    teaching = [front.network(teacher, build) for teacher in teachers]
    return [term for method in methods for term in method.terms(shown, teaching)]


def require_capable(methods: Sequence[Method], capabilities: Capabilities) -> None:
    """Raises ValueError if a method needs what a front does not do."""
    for method in methods:
        missing = sorted(method.own_needs - capabilities.methods)
        if missing:
            raise ValueError(
                f"The method {method.name} needs a front that has {', '.join(missing)}. Received: a front "
                "without it. Leave it out, or choose another front."
            )
