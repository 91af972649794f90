"""The stages of a run: teacher, float student, quantized student, export. Each makes one product."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from tfqkd.data.images import ImageData
from tfqkd.fronts.front import Front, Model, Place
from tfqkd.fronts.trainer import Logits
from tfqkd.runtime.outputs import LOGITS
from tfqkd.training.checking import checked_student, try_formats
from tfqkd.training.fitting import fit
from tfqkd.training.models import model_key
from tfqkd.training.plans import (
    augmentation_of,
    distillation_of,
    estimation_of,
    fitting_of,
    quantization_of,
)
from tfqkd.training.products import Products
from tfqkd.training.progress import MakeProgress, ProgressBar
from tfqkd.training.recipe import Recipe
from tfqkd.training.rules import is_model_path
from tfqkd.training.seeds import training_seed
from tfqkd.training.settings import EXPORT, FLOAT_BITS, QUANTIZED, STUDENT, TEACHER
from tfqkd.training.teacher_cache import TeacherCache, cache_bytes, require_space

MODEL_FILE = "model.keras"
SUMMARY_FILE = "quantization.txt"
LAYERS_FILE = "quantization.json"
REPORTS_FILE = "reports.json"
VERIFIED_IMAGES = 64
CALIBRATION_IMAGES = 500
"""On how many training images the ranges of activations are measured."""


@dataclasses.dataclass(frozen=True)
class Stages:
    """Makes the products of a recipe; each is made when it is first asked for.

    Attributes:
        recipe: What to make.
        data: Loaded as the recipe says.
        products: Where the products are kept.
        front: Makes and trains the models.
        place: Where they are trained.
        callbacks: Of the quantized student's training, besides those that every stage has.
        progress: Makes the callback that shows the progress of a stage.
    """

    recipe: Recipe
    data: ImageData
    products: Products
    front: Front
    place: Place
    callbacks: tuple[Any, ...] = ()
    progress: MakeProgress = ProgressBar

    def teachers(self) -> list[pathlib.Path]:
        """Returns the model file of each teacher, trained if it was not."""
        return [self._float_model(TEACHER, name) for name in self.recipe.teachers()]

    def student(self) -> pathlib.Path:
        """Returns the model file of the float student, trained if it was not."""
        teachers = self.teachers() if self.recipe.teaches_float else []
        return self._float_model(STUDENT, self.recipe.student, teachers)

    def quantized(self) -> pathlib.Path:
        """Returns the product of the quantized student: stripped model, wrapped weights, history."""
        teachers, student = self.teachers(), self.student()
        key = self._quantized_key(teachers, student)
        return self.products.get(
            QUANTIZED, key, lambda partial: self._train_quantized(partial, teachers, student)
        )

    def exported(self, products: Products | None = None) -> pathlib.Path:
        """Returns the product of the exported files, and the reports of their verification.

        Args:
            products: Where it is kept; as the others if None. It is made by one process alone.
        """
        from tfqkd.export.exporter import export  # noqa: PLC0415 (knows Keras)

        quantized = self.quantized()
        key = {**self._key(EXPORT), "quantized": quantized.name}

        def make(partial: pathlib.Path) -> None:
            # An export that was killed leaves drafts, and nothing to go on with.
            shutil.rmtree(partial)
            partial.mkdir()
            reports = export(
                self.front.load(quantized / MODEL_FILE),
                partial,
                self.recipe.formats,
                class_names=self.data.class_names,
                images=self.data.test.sample(VERIFIED_IMAGES),
                calibration=self.data.train.sample(CALIBRATION_IMAGES),
                test=(self.data.test.images, self.data.test.labels),
                output=LOGITS,
            )
            listed = [
                {**dataclasses.asdict(report), "path": pathlib.Path(report.path).name}
                for report in reports
            ]
            (partial / REPORTS_FILE).write_text(json.dumps(listed, indent=2) + "\n")

        return (products or self.products).get(EXPORT, key, make)

    def check(self) -> None:
        """Builds every model of the recipe once, untrained, so that a misfit shows before training.

        Raises:
            ValueError: If a model does not fit the data set, ends in softmax, computes in another precision,
                or has no fixed images to be exported for.
            ExportError: If a format cannot hold the student; each is tried where there is something to train.
        """
        model = checked_student(self.recipe, self.data, self.front, self._build)
        if self.recipe.has_teacher:
            self._require_cache_space()
        if self.recipe.formats and not self._is_trained():
            try_formats(self._quantized(model), self.recipe.formats, self.data)

    def _require_cache_space(self) -> None:
        size = cache_bytes(len(self.data.train), self.data.classes, self.recipe.teacher_views)
        # A teacher that is still to be trained has no logits there yet.
        untrained = any(
            not is_model_path(name)
            and not self.products.path(TEACHER, self._float_key(TEACHER, name)).is_dir()
            for name in self.recipe.teachers()
        )
        limit = self.recipe.teacher_cache_limit_gb
        require_space(self._cache_directory, size, size if untrained else 0, limit)

    def _is_trained(self) -> bool:
        """Whether the quantized student is a product already."""
        teachers = [self._float_path(TEACHER, name) for name in self.recipe.teachers()]
        if not all(path.exists() for path in teachers):
            return False
        taught_by = teachers if self.recipe.teaches_float else []
        student = self._float_path(STUDENT, self.recipe.student, taught_by)
        if not student.exists():
            return False
        return self.products.path(QUANTIZED, self._quantized_key(teachers, student)).is_dir()

    @property
    def _cache_directory(self) -> pathlib.Path:
        return pathlib.Path(self.recipe.teacher_cache or self.products.directory)

    def _key(self, stage: str) -> dict[str, Any]:
        replicas = counted_replicas(self.recipe, self.place)
        return {
            "stage": stage,
            "settings": self.recipe.stage_settings(stage),
            "data": self.data.fingerprint,
            **({"replicas": replicas} if replicas > 1 and stage != EXPORT else {}),
        }

    def _build(self, name: str) -> Model:
        if is_model_path(name):
            return self.front.load(pathlib.Path(name))
        data = self.data
        return self.front.build(name, data.image_shape, data.classes, mean=data.mean, std=data.std)

    def _quantized(self, model: Model) -> Model:
        """Returns the model as the quantized stage trains it."""
        if self.recipe.bits != FLOAT_BITS:
            model = self.front.quantize(model, quantization_of(self.recipe))
        if self.recipe.activation_bits != FLOAT_BITS:
            shown = fitting_of(self.recipe, QUANTIZED, self.data)
            self.front.calibrate(model, shown, self.data)
        return model

    def _quantization_callbacks(self) -> list[Any]:
        if self.recipe.bits == FLOAT_BITS:
            return []
        return self.front.quantization_callbacks(quantization_of(self.recipe))

    def _float_model(
        self, stage: str, name: str, teachers: Sequence[pathlib.Path] = ()
    ) -> pathlib.Path:
        if is_model_path(name):
            return pathlib.Path(name)

        def make(partial: pathlib.Path) -> None:
            self._start(stage)
            kept = self._kept_logits(teachers)
            with self.place.scope():
                model = self._build(name)
                network = self._taught(model, teachers, kept) if teachers else model
                title = f"float {stage} ({name}), seed {self.recipe.seed_of(stage)}"
                self._fit(stage, title, partial, network, teacher_logits=kept)
                self._settle_batch_norm(stage, model)
            # A copy without the optimizer, whose state the .keras format would keep.
            self.front.save(self.front.strip(model), partial / MODEL_FILE)

        return self.products.get(stage, self._float_key(stage, name, teachers), make) / MODEL_FILE

    def _float_path(
        self, stage: str, name: str, teachers: Sequence[pathlib.Path] = ()
    ) -> pathlib.Path:
        """Returns the file that `_float_model` returns, whether it is there or not."""
        if is_model_path(name):
            return pathlib.Path(name)
        return self.products.path(stage, self._float_key(stage, name, teachers)) / MODEL_FILE

    def _quantized_key(
        self, teachers: Sequence[pathlib.Path], student: pathlib.Path
    ) -> dict[str, Any]:
        return {
            **self._key(QUANTIZED),
            "teachers": [model_key(path) for path in teachers],
            "student": model_key(student),
        }

    def _float_key(
        self, stage: str, name: str, teachers: Sequence[pathlib.Path] = ()
    ) -> dict[str, Any]:
        settings = {**self.recipe.stage_settings(stage), stage: name}
        key = {**self._key(stage), "settings": settings}
        if not teachers:
            return key
        distillation = self.recipe.distillation_settings()
        return {**key, "teachers": list(map(model_key, teachers)), "distillation": distillation}

    def _train_quantized(
        self, partial: pathlib.Path, teachers: list[pathlib.Path], student: pathlib.Path
    ) -> None:
        recipe, front = self.recipe, self.front
        self._start(QUANTIZED)
        kept = self._kept_logits(teachers)
        with self.place.scope():
            model = self._quantized(front.load(student))
            network = self._taught(model, teachers, kept) if recipe.distils else model
            self._fit(
                QUANTIZED,
                f"{recipe.title} ({recipe.student}), seed {recipe.seed}",
                partial,
                network,
                callbacks=[*self._quantization_callbacks(), *self.callbacks],
                teacher_logits=kept,
            )
            if recipe.ema:
                # Steps that follow the weights have followed those of training, not their average.
                front.requantize(model)
            self._settle_batch_norm(QUANTIZED, model)
            stripped = front.strip(model)
        front.save_wrapped(model, partial)
        front.save(stripped, partial / MODEL_FILE)
        summary, layers = front.summary(model)
        (partial / SUMMARY_FILE).write_text(f"{summary}\n", encoding="utf-8")
        (partial / LAYERS_FILE).write_text(json.dumps(layers, indent=2) + "\n")

    def _taught(
        self, student: Model, teachers: Sequence[pathlib.Path], kept: list[Logits]
    ) -> Model:
        live = [] if kept else [self.front.load(each) for each in teachers]
        return self.front.taught(student, live, bool(kept), distillation_of(self.recipe))

    def _kept_logits(self, teachers: Sequence[pathlib.Path]) -> list[Logits]:
        """Returns the teachers' logits for each fixed view; none if views are drawn anew."""
        if not (self.recipe.teacher_views and teachers):
            return []
        front, workers = self.front, self.place.workers
        # Outside the place's scope: there workers read variables together, but one asks alone.
        loaded = [front.load(path) for path in teachers]
        if not workers.is_chief:
            workers.wait()
        logits = TeacherCache(
            self._cache_directory,
            front.together(loaded),
            self.data.train,
            augmentation_of(self.recipe),
            self.recipe.teacher_views,
            identity=",".join(map(front.model_fingerprint, loaded)),
            limit_gb=self.recipe.teacher_cache_limit_gb,
            front=front,
        ).logits()
        if workers.is_chief:
            workers.wait()
        return logits

    def _fit(
        self,
        stage: str,
        title: str,
        partial: pathlib.Path,
        network: Model,
        callbacks: Sequence[Any] = (),
        teacher_logits: Sequence[Logits] = (),
    ) -> None:
        fit(
            self.front,
            network,
            partial,
            recipe=self.recipe,
            stage=stage,
            title=title,
            data=self.data,
            workers=self.place.workers,
            progress=self.progress,
            callbacks=callbacks,
            teacher_logits=teacher_logits,
        )

    def _settle_batch_norm(self, stage: str, model: Model) -> None:
        """Gives the model that is kept the statistics that the recipe asks for."""
        if self.recipe.batch_norm != "moving":
            shown = estimation_of(self.recipe, stage, self.data)
            self.front.settle_batch_norm(model, shown, self.data)

    def _start(self, stage: str) -> None:
        self.front.start(training_seed(self.recipe, stage), self.recipe.mixed_precision)


def counted_replicas(recipe: Recipe, place: Place) -> int:
    """Returns on how many replicas a training depends; 1 where it is the same on any number of them.

    Each replica takes the statistics of batch norm over its own part of a batch, unless they are
    synchronized.
    """
    return 1 if recipe.synchronized_batch_norm else place.replicas
