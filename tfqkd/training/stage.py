"""A stage of a run in plain values: one training, with the stages that it begins from and learns from."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from tfqkd.fronts.foreign import is_foreign
from tfqkd.fronts.settings import Distillation, Quantization, Training
from tfqkd.methods.method import Method
from tfqkd.recipe.models import saved_model

TEACHER, ASSISTANT, STUDENT, QUANTIZED = "teacher", "assistant", "student", "quantized"
ROLES = (TEACHER, ASSISTANT, STUDENT, QUANTIZED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run computes, and what it keeps on the way; no result depends on it. See the settings.

    Attributes:
        strategy: On which devices.
        jit_compile: Whether XLA compiles the step.
        steps_per_execution: Steps in one call.
        scan: Whether an epoch is one compiled call: "auto", "on" or "off".
        deterministic: Whether every operation gives the same bits each time.
        checkpoint_every: Besides after every epoch: minutes such as "10m", steps such as "500", or "".
        checkpoints_kept: The last ones of a stage, until it is finished.
        profile: First and last step of a profile; None without.
        cache: Where teachers' logits are kept; None for beside the products.
        cache_limit_gb: The most that the logits of a stage may take, in 2^30 bytes.
    """

    strategy: str = "auto"
    jit_compile: bool = False
    steps_per_execution: int = 1
    scan: str = "auto"
    deterministic: bool = False
    checkpoint_every: str = "10m"
    checkpoints_kept: int = 3
    profile: tuple[int, int] | None = None
    cache: pathlib.Path | None = None
    cache_limit_gb: float = 10.0


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A saved model, which is used as it is.

    Attributes:
        role: Of `ROLES`.
        label: What it is called in tables.
        network: Its path, or its name where it comes along.
        keras: Of the run: None for tf_keras.
        layers_only: Whether it is asked for its layers alone: its outputs are of other classes.
    """

    role: str
    label: str
    network: str
    keras: int | None = None
    layers_only: bool = False

    @property
    def architecture(self) -> tuple[str, str]:
        """As a stage's: the path."""
        return self.network, ""

    @property
    def is_foreign(self) -> bool:
        """Whether the run's Keras does not load it, so that it can be asked alone."""
        return is_foreign(saved_model(self.network), self.keras)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One training.

    The key of its product holds its settings and the keys of its inputs, but neither role, label nor seed:
    two stages that train the same are one.

    Attributes:
        role: Of `ROLES`; begins the name of its product.
        label: What it is called in tables.
        seed: That its own was made of, for tables.
        network: The architecture, or the path that it goes back to.
        weights: The file of the architecture's first weights; "" for random ones.
        precision: That it computes in.
        training: How it is trained.
        keras: Of which Keras it is; None for tf_keras.
        start: Where its weights come from; None for random ones.
        teachers: Whose logits it learns from, as a mean if the distillation says nothing else.
        quantization: How it is quantized; None for a float network.
        distillation: How its losses are weighed; None without a teacher or its control.
        methods: What else is done, in this order.
        on_general: Whether it is trained on the run's general data, which has no labels.
    """

    role: str
    label: str
    seed: int
    network: str
    precision: str
    training: Training
    keras: int | None = None
    weights: str = ""
    start: "Source | None" = None
    teachers: tuple["Source", ...] = ()
    quantization: Quantization | None = None
    distillation: Distillation | None = None
    methods: tuple[Method, ...] = ()
    on_general: bool = False

    @property
    def title(self) -> str:
        """What is trained, for progress and messages."""
        return f"{self.label} ({self.network}), seed {self.seed}"

    @property
    def is_foreign(self) -> bool:
        """As a file's: what is trained here is none."""
        return False

    @property
    def architecture(self) -> tuple[str, str]:
        """Network and weights: what it is built of if it starts from nothing else."""
        return self.network, self.weights

    @property
    def inputs(self) -> tuple["Source", ...]:
        """The teachers, then what it starts from."""
        return (*self.teachers, *([self.start] if self.start else []))

    @property
    def quantized(self) -> Quantization:
        """How it is quantized under its methods.

        Raises:
            ValueError: If a method cannot do with such a quantizer.
        """
        assert self.quantization is not None
        quantization = self.quantization
        for method in self.methods:
            quantization = method.quantization(quantization)
        return quantization

    def settings(self) -> dict[str, Any]:
        """Returns all that its result depends on besides its inputs and data, as JSON holds it."""
        own = {
            "network": None if self.start else self.network,
            "precision": self.precision,
            "keras": self.keras,
            "training": self.training,
            "quantization": self.quantization,
            "distillation": self.distillation,
            "methods": self.methods or None,
        }
        return {name: plain(each) for name, each in own.items() if each is not None}


Source = Stage | ModelFile
"""Where a model comes from."""


def walk(sources: Iterable[Source]) -> Iterator[Source]:
    """Yields each source once, its inputs before it."""
    seen: list[Source] = []

    def visit(source: Source) -> Iterator[Source]:
        if source in seen:
            return
        if isinstance(source, Stage):
            for each in source.inputs:
                yield from visit(each)
        seen.append(source)
        yield source

    for source in sources:
        yield from visit(source)


def plain(value: Any) -> Any:
    """Returns settings as JSON holds them.

    A dataclass with its class, and without what is None; a dict, whose order may count, as its pairs.
    """
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        given = {name: plain(each) for name, each in fields.items() if each is not None}
        return {"kind": type(value).__name__, **given}
    if isinstance(value, dict):
        return [[str(name), plain(each)] for name, each in value.items()]
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    return value
