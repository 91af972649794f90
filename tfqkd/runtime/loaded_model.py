"""What an exported file is once it is loaded: a function from batches to what the model returns."""

import abc
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfqkd.runtime.inputs import Arrays, Given, batches, checked_inputs, filled
from tfqkd.runtime.outputs import LOGITS, OUTPUTS, SIGNATURE_NAMES
from tfqkd.runtime.signature import INPUT, SIGNATURE, Tensor

Shapes = dict[str, tuple[int | None, ...]]
"""Shapes by name, None where any size is taken."""
Tensors = dict[str, Tensor]
"""Inputs or outputs by name."""
_ONE_OUTPUT = tuple(dict.fromkeys(SIGNATURE_NAMES.values()))


class LoadedModel(abc.ABC):
    """An exported file as a function from batches to what the model returns; from images to logits, mostly.

    Attributes:
        path: The file.
        class_names: The names of the classes in the order of the outputs; None if the file holds none. Of
            several outputs the names by the output, for those that have some.
        centre_crop: Whether the model was trained on the middle of images, cut to the proportions of its own.
        kinds: What each output is, of `tfqkd.runtime.outputs.OUTPUTS`, by name in the user's order; "logits"
            if the file does not say it, as files of earlier versions.
        input_shape: The shape of one example of the one input, such as (H, W, C) of an image; 0 where any
            size is taken. Of several inputs a dict by name.
        inputs: The signature's inputs in the user's order: a shape by name, None where any size is taken.
        outputs: The signature's outputs, alike.
        batch_size: How many examples the file takes at once; None for any number.

    Args:
        path: A file that tfqkd exported.
        threads: How many threads one call uses; the runtime's own choice by default.
        direct: Give the file to the runtime as it is; see `tfqkd.runtime.load`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `threads` is below 1, or the file is damaged or not one of tfqkd's.
    """

    _KIND: str
    _ADVICE = "Copy it or export it again"

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, *, direct: bool = False
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(
                f"`threads` must be at least 1, or None. Received: threads={threads}. "
                "Leave it out to let the runtime choose."
            )
        self.path = pathlib.Path(path)
        content = self._content(self.path)
        try:
            inputs, outputs, metadata = self._open(content, threads, direct)
        except Exception as error:  # The runtimes' own exceptions have no common base.
            raise ValueError(
                f"{self._KIND} file must be complete and readable. Received: {self.path} "
                f"({len(content)} bytes): {error}. {self._ADVICE}."
            ) from error
        said = json.loads(metadata)
        self._inputs, self._outputs, self.kinds = self._in_order(inputs, outputs, said)
        self.inputs: Shapes = {name: tensor.shape for name, tensor in self._inputs.items()}
        self.outputs: Shapes = {name: tensor.shape for name, tensor in self._outputs.items()}
        shapes = {
            name: tuple(size or 0 for size in shape[1:]) for name, shape in self.inputs.items()
        }
        self.input_shape: Any = shapes if len(shapes) > 1 else next(iter(shapes.values()))
        self.batch_size: int | None = next(iter(self.inputs.values()))[0]
        self.centre_crop: bool = said.get("centre_crop", False)
        self.class_names: Any = _class_names(said.get("class_names"))

    def __call__(self, images: Given) -> Any:
        """Returns what the model does for a batch of any size; see `kinds`.

        A file of a fixed `batch_size` is run as often as it takes; the last batch is filled up.

        Args:
            images: Pixels in 0..255, uint8 or float32 [N, H, W, C], N ≥ 1; for a model of no images what it
                takes. Of several inputs a list in the order of `inputs`, or a dict by name.

        Returns:
            float32 [N, classes], or [N, ...] as `outputs` says; of several outputs a dict by name.

        Raises:
            TypeError: If a batch has another type of number.
            ValueError: If a batch has another shape, or one is missing.
        """
        found = self.named(images)
        return found if len(found) > 1 else next(iter(found.values()))

    def named(self, images: Given) -> Arrays:
        """Returns the outputs by name, also where there is one; see `__call__`."""
        inputs = checked_inputs(images, self._inputs)
        if self.batch_size is None:
            found = self._run(inputs)
            return {name: found[name] for name in self.outputs}
        count = len(next(iter(inputs.values())))
        parts = []
        for batch in batches(inputs, self.batch_size):
            short = self.batch_size - len(next(iter(batch.values())))
            parts.append(self._run({name: filled(each, short) for name, each in batch.items()}))
        return {
            name: np.concatenate([part[name] for part in parts])[:count] for name in self.outputs
        }

    @property
    def signature(self) -> Tensors:
        """The inputs in the user's order, with the types of their numbers."""
        return dict(self._inputs)

    @property
    def output(self) -> str:
        """What the one output is, of `tfqkd.runtime.outputs.OUTPUTS`.

        Raises:
            ValueError: If there are several; `kinds` has them.
        """
        if len(self.kinds) > 1:
            raise ValueError(
                f"`output` belongs to files with one output. Received: {self.path} with "
                f"{', '.join(self.kinds)}. Read `kinds`."
            )
        return next(iter(self.kinds.values()))

    def _content(self, path: pathlib.Path) -> bytes:
        """Returns what the runtime runs."""
        return path.read_bytes()

    @abc.abstractmethod
    def _open(
        self, content: bytes, threads: int | None, direct: bool
    ) -> tuple[Tensors, Tensors, str]:
        """Prepares the runtime; returns inputs, outputs and the metadata, a JSON object."""

    @abc.abstractmethod
    def _run(self, inputs: Arrays) -> Arrays:
        """Returns all outputs for batches that were checked."""

    def _in_order(
        self, inputs: Tensors, outputs: Tensors, said: Mapping[str, Any]
    ) -> tuple[Tensors, Tensors, dict[str, str]]:
        """Returns the signature as the metadata orders it, and the kinds; raises if it is another one."""
        taken, kinds = said.get("inputs", [INPUT]), said.get("output", LOGITS)
        names = " and ".join(kinds) if isinstance(kinds, dict) else " or ".join(_ONE_OUTPUT)
        if not isinstance(kinds, dict):
            found = [name for name in outputs if name in _ONE_OUTPUT]
            kinds = dict.fromkeys(found, kinds)
        if set(inputs) != set(taken) or set(outputs) != set(kinds) or not kinds:
            raise ValueError(
                f"A file of tfqkd has the signature {SIGNATURE}({', '.join(taken)}) -> {names}. "
                f"Received: {self.path} with {_shapes(inputs)} -> {_shapes(outputs)}. "
                "Export the model with tfqkd.export."
            )
        for kind in kinds.values():
            if kind not in OUTPUTS:
                raise ValueError(
                    f"A file must return one of {', '.join(OUTPUTS)}. "
                    f"Received: {self.path} with output={kind!r}. Install the tfqkd that wrote it."
                )
        return {name: inputs[name] for name in taken}, {n: outputs[n] for n in kinds}, kinds


def _shapes(tensors: Tensors) -> Shapes:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _class_names(said: Any) -> tuple[str, ...] | dict[str, tuple[str, ...]] | None:
    if isinstance(said, dict):
        return {name: tuple(names) for name, names in said.items()}
    return None if said is None else tuple(said)
