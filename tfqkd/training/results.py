"""What came out of a run: its models, known by role and stage, and its exported files."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tfqkd.storage import read_json
from tfqkd.training.stage import QUANTIZED, STUDENT, TEACHER

RESULTS_FILE = "results.json"
_NUMBER = (int, float)
MEASURED_MODEL = {
    "name": str,
    "parameters": int,
    "accuracy": _NUMBER,
    "top5": (int, float, type(None)),
    "loss": _NUMBER,
}
"""What is kept of a measured model, as a shape for `read_json`."""
EXPORTED = {
    "path": str,
    "format": str,
    "bytes": int,
    "gzip_bytes": int,
    "max_difference": _NUMBER,
    "agreement": _NUMBER,
}
"""What is told of an exported file, as a shape for `read_json`."""
_RESULTS = {"models": [{"role": str, "model": str, **MEASURED_MODEL}], "export": [EXPORTED, ...]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelResult:
    """A model of a run, measured once on all test images.

    Attributes:
        role: What it is in the run: "teacher", "assistant", "student" (float) or "quantized".
        label: What it is called in tables.
        name: Its own.
        parameters: Trainable ones; 0 of a file that does not tell.
        accuracy: Share of images whose best class is right.
        top5: Share whose label is among the five best classes; None for five classes or fewer.
        loss: Cross-entropy of the labels, in nats.
        model: Its file, from the run directory.
        stage: The name of its stage's product; "" for a saved model.
        seed: Of its training; None for a saved model.
        quantized_share: Share of its parameters that are quantized.
    """

    role: str
    label: str
    name: str
    parameters: int
    accuracy: float
    top5: float | None
    loss: float
    model: str
    stage: str = ""
    seed: int | None = None
    quantized_share: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.label} ({self.name}): {100 * self.accuracy:.2f} % of the test images right, "
            f"{self.parameters:,} parameters, {100 * self.quantized_share:.1f} % of them quantized"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """An exported file; its whole report is in `reports.json` of the product.

    Attributes:
        format: Name of the format.
        path: Its name in the run's `export`.
        bytes: Its size.
        gzip_bytes: Its size when it is compressed.
        max_difference: Largest difference of an output from the Keras model's.
        agreement: Share of images with the same best class.
        images: On how many images it was verified.
        accuracy: Share of the test images that it classifies right.
    """

    format: str
    path: str
    bytes: int
    gzip_bytes: int
    max_difference: float
    agreement: float
    images: int | None = None
    accuracy: float | None = None

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> "ExportedFile":
        """Returns what is kept of a report, as JSON holds it."""
        return _made(cls, report)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """What `results.json` holds.

    Attributes:
        models: In the order of the stages.
        export: The exported files of the last model.
        class_names: Of the data set.
    """

    models: tuple[ModelResult, ...]
    export: tuple[ExportedFile, ...] = ()
    class_names: tuple[str, ...] = ()

    @property
    def student(self) -> ModelResult:
        """The model that the run is for: the last one."""
        return self.models[-1]

    @property
    def float_student(self) -> ModelResult:
        """What the student began from, as the recipe says."""
        return [model for model in self.models if model.role == STUDENT][-1]

    @property
    def teachers(self) -> tuple[ModelResult, ...]:
        """The teachers of all seeds."""
        return tuple(model for model in self.models if model.role == TEACHER)

    def teachers_of(self, model: ModelResult) -> tuple[ModelResult, ...]:
        """Returns the teachers of a model's seed, or those that all seeds share."""
        same = tuple(each for each in self.teachers if each.seed == model.seed)
        return same or self.teachers

    def to_json(self) -> str:
        """Returns the results as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, directory: pathlib.Path) -> "Results":
        """Reads the results of a run directory.

        Raises:
            ValueError: If the run is not finished, or the file is damaged.
        """
        file = directory / RESULTS_FILE
        if not file.exists():
            raise ValueError(
                f"A run directory must hold a finished run. Received: {directory}, without {RESULTS_FILE}. "
                "Finish the run first: the same bin/train command goes on where it stopped."
            )
        value = read_json(file, _RESULTS)
        models = value["models"]
        if "label" not in models[-1]:
            models = [_as_now(model, model is models[-1]) for model in models]
        return cls(
            models=tuple(_made(ModelResult, model) for model in models),
            export=tuple(map(ExportedFile.of, value["export"])),
            class_names=tuple(value.get("class_names", ())),
        )

    def __str__(self) -> str:
        return "\n".join([*map(str, self.models), *(f"exported: {e.path}" for e in self.export)])


def _made(kind: type, value: Mapping[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: each for name, each in value.items() if name in names})


def _as_now(model: dict[str, Any], is_last: bool) -> dict[str, Any]:
    """A model of a tfqkd that knew it by its label alone, under the name `role`."""
    label = model["role"]
    role = TEACHER if label.startswith("float teacher") else STUDENT
    if is_last:
        role = QUANTIZED
    product = pathlib.PurePath(model["model"]).parent.name
    own = product.startswith((f"{TEACHER}-", f"{STUDENT}-", f"{QUANTIZED}-"))
    return {**model, "label": label, "role": role, "stage": product if own else ""}
