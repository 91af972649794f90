"""The stages of a run: teacher, float student, quantized student, export. Each makes one product."""

import dataclasses
import json
import pathlib
import shutil
import warnings
from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.data.batches import steps_per_epoch
from tfqkd.data.images import ImageData
from tfqkd.export.exporter import export
from tfqkd.export.keras_file import require_own_layers
from tfqkd.export.source import require_exportable
from tfqkd.export.trial import require_formats
from tfqkd.fronts.tfmot.batch_norm import batch_norms, reestimate_batch_norm
from tfqkd.fronts.tfmot.calibration import calibrate_activations
from tfqkd.fronts.tfmot.distiller import Distiller
from tfqkd.fronts.tfmot.gradual import GradualQuantization
from tfqkd.fronts.tfmot.model import (
    quantize_model,
    quantized_kernels,
    require_quantizable,
    strip_quantization,
)
from tfqkd.fronts.tfmot.schemes import layer_configs
from tfqkd.fronts.tfmot.summary import quantization_summary
from tfqkd.fronts.tfmot.teachers import Ensemble, require_logits
from tfqkd.models import build
from tfqkd.runtime.outputs import LOGITS
from tfqkd.training.fitting import augmentation_of, estimation_batches, first_batches, fit
from tfqkd.training.products import Products
from tfqkd.training.progress import MakeProgress, ProgressBar
from tfqkd.training.recipe import Recipe
from tfqkd.training.rules import is_model_path
from tfqkd.training.saved_models import (
    load_model,
    model_key,
    require_different,
    require_fit,
    require_precision,
    require_runs,
)
from tfqkd.training.schemes import scheme_of
from tfqkd.training.seeds import training_seed
from tfqkd.training.settings import EXPORT, FLOAT_BITS, QUANTIZED, STUDENT, TEACHER
from tfqkd.training.teacher_cache import TeacherCache, cache_bytes, model_fingerprint, require_space
from tfqkd.training.workers import Workers

MODEL_FILE = "model.keras"
WRAPPED_FILE = "quantized.h5"
SUMMARY_FILE = "quantization.txt"
LAYERS_FILE = "quantization.json"
REPORTS_FILE = "reports.json"
VERIFIED_IMAGES = 64
TRIED_IMAGES = 16
"""On how many training images an untrained student is exported."""
CALIBRATION_IMAGES = 500
"""On how many training images the ranges of activations are measured."""


@dataclasses.dataclass(frozen=True)
class Stages:
    """Makes the products of a recipe; each is made when it is first asked for.

    Attributes:
        recipe: What to make.
        data: Loaded as the recipe says.
        products: Where the products are kept.
        strategy: Where they are trained.
        callbacks: Of the quantized student's training, besides those that every stage has.
        progress: Makes the callback that shows the progress of a stage.
    """

    recipe: Recipe
    data: ImageData
    products: Products
    strategy: tf.distribute.Strategy
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
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
        quantized = self.quantized()
        key = {**self._key(EXPORT), "quantized": quantized.name}

        def make(partial: pathlib.Path) -> None:
            # An export that was killed leaves drafts, and nothing to go on with.
            shutil.rmtree(partial)
            partial.mkdir()
            reports = export(
                load_model(quantized / MODEL_FILE),
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
        steps_per_epoch(self.data.train, self.recipe.batch_size)
        teachers = [(TEACHER, name) for name in self.recipe.teachers()]
        require_different([pathlib.Path(name) for _, name in teachers if is_model_path(name)])
        for role, name in (*teachers, (STUDENT, self.recipe.student)):
            model = self._build(name)
            require_fit(name, model, self.data)
            if is_model_path(name):
                require_runs(name, model, self.data)
            require_logits(model, role)
        if is_model_path(self.recipe.student):
            require_precision(self.recipe.student, model, self.recipe.mixed_precision)
        if self.recipe.formats:
            require_exportable(model, self.data.class_names)
        if "keras" in self.recipe.formats:
            require_own_layers(model)
        if self.recipe.bits != FLOAT_BITS:
            scheme = scheme_of(self.recipe)
            policy = self.recipe.bits_by_layer() or None
            layer_configs(scheme, model, require_quantizable(model, scheme, policy))
        if self.recipe.has_teacher:
            size = cache_bytes(len(self.data.train), self.data.classes, self.recipe.teacher_views)
            # A teacher that is still to be trained has no logits there yet.
            untrained = any(
                not is_model_path(name)
                and not self.products.path(TEACHER, self._float_key(TEACHER, name)).is_dir()
                for name in self.recipe.teachers()
            )
            require_space(
                self._cache_directory,
                size,
                size if untrained else 0,
                self.recipe.teacher_cache_limit_gb,
            )
        if self.recipe.formats and not self._is_trained():
            self._try_formats(model)

    def _try_formats(self, model: keras.Model) -> None:
        recipe = self.recipe
        if recipe.bits != FLOAT_BITS:
            model = self._quantize(model)
        if recipe.activation_bits != FLOAT_BITS:
            calibrate_activations(model, first_batches(recipe, self.data, 1))
        images = self.data.train.sample(TRIED_IMAGES)
        require_formats(model, recipe.formats, images, self.data.class_names)

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
        replicas = counted_replicas(self.recipe, self.strategy)
        return {
            "stage": stage,
            "settings": self.recipe.stage_settings(stage),
            "data": self.data.fingerprint,
            **({"replicas": replicas} if replicas > 1 and stage != EXPORT else {}),
        }

    def _build(self, name: str) -> keras.Model:
        if is_model_path(name):
            return load_model(pathlib.Path(name))
        data = self.data
        return build(name, data.image_shape, data.classes, mean=data.mean, std=data.std)

    def _quantize(self, model: keras.Model) -> keras.Model:
        recipe = self.recipe
        return quantize_model(model, scheme_of(recipe), recipe.bits_by_layer() or None)

    def _gradual_callbacks(self) -> list[keras.callbacks.Callback]:
        recipe = self.recipe
        if recipe.gradual_bits or recipe.gradual_share:
            return [GradualQuantization(recipe.gradual_shares())]
        return []

    def _float_model(
        self, stage: str, name: str, teachers: Sequence[pathlib.Path] = ()
    ) -> pathlib.Path:
        if is_model_path(name):
            return pathlib.Path(name)

        def make(partial: pathlib.Path) -> None:
            self._start(stage)
            kept = self._kept_logits(teachers)
            with self.strategy.scope():
                model = self._build(name)
                network = self._distiller(model, teachers, kept) if teachers else model
                title = f"float {stage} ({name}), seed {self.recipe.seed_of(stage)}"
                self._fit(stage, title, partial, network, teacher_logits=kept)
                self._settle_batch_norm(stage, model)
            # A copy without the optimizer, whose state the .keras format would keep.
            strip_quantization(model).save(partial / MODEL_FILE)

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
        recipe = self.recipe
        self._start(QUANTIZED)
        kept = self._kept_logits(teachers)
        with self.strategy.scope():
            model = load_model(student)
            if recipe.bits != FLOAT_BITS:
                model = self._quantize(model)
            if recipe.activation_bits != FLOAT_BITS:
                calibrate_activations(model, first_batches(recipe, self.data, 1))
            network = self._distiller(model, teachers, kept) if recipe.distils else model
            self._fit(
                QUANTIZED,
                f"{recipe.title} ({recipe.student}), seed {recipe.seed}",
                partial,
                network,
                callbacks=[*self._gradual_callbacks(), *self.callbacks],
                teacher_logits=kept,
            )
            if recipe.ema:
                # Steps that follow the weights have followed those of training, not their average.
                for kernel in quantized_kernels(model):
                    if kernel.trainable:
                        kernel.follow()
            self._settle_batch_norm(QUANTIZED, model)
            stripped = strip_quantization(model)
        with warnings.catch_warnings():
            # Keras calls h5 legacy.
            warnings.simplefilter("ignore", UserWarning)
            model.save(partial / WRAPPED_FILE, include_optimizer=False)
        stripped.save(partial / MODEL_FILE)
        summary = quantization_summary(model, print_fn=None)
        (partial / SUMMARY_FILE).write_text(f"{summary}\n", encoding="utf-8")
        layers = [dataclasses.asdict(layer) for layer in summary.layers]
        (partial / LAYERS_FILE).write_text(json.dumps(layers, indent=2) + "\n")

    def _distiller(
        self, student: keras.Model, teachers: Sequence[pathlib.Path], kept: list[tf.Tensor]
    ) -> Distiller:
        recipe = self.recipe
        return Distiller(
            student=student,
            teacher=LOGITS_IN_BATCH if kept else _together([load_model(each) for each in teachers]),
            temperature=recipe.temperature,
            coefficient=recipe.coefficient,
            soft_loss=recipe.soft_loss,
            soft_weight=recipe.soft_weight,
            dkd_beta=recipe.dkd_beta,
            scale_by_temperature_squared=recipe.scale_by_temperature_squared,
        )

    def _kept_logits(self, teachers: Sequence[pathlib.Path]) -> list[tf.Tensor]:
        """Returns the teachers' logits for each fixed view; none if views are drawn anew."""
        if not (self.recipe.teacher_views and teachers):
            return []
        # Outside the strategy's scope: there workers read variables together, but one asks alone.
        loaded = [load_model(path) for path in teachers]
        workers = Workers(self.strategy)
        if not workers.is_chief:
            workers.wait()
        logits = TeacherCache(
            self._cache_directory,
            _together(loaded),
            self.data.train,
            augmentation_of(self.recipe),
            self.recipe.teacher_views,
            identity=",".join(map(model_fingerprint, loaded)),
            limit_gb=self.recipe.teacher_cache_limit_gb,
        ).logits()
        if workers.is_chief:
            workers.wait()
        return logits

    def _fit(
        self,
        stage: str,
        title: str,
        partial: pathlib.Path,
        network: keras.Model,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        teacher_logits: Sequence[tf.Tensor] = (),
    ) -> None:
        fit(
            network,
            partial,
            recipe=self.recipe,
            stage=stage,
            title=title,
            data=self.data,
            strategy=self.strategy,
            progress=self.progress,
            callbacks=callbacks,
            teacher_logits=teacher_logits,
        )

    def _settle_batch_norm(self, stage: str, model: keras.Model) -> None:
        """Gives the model that is kept the statistics that the recipe asks for."""
        if self.recipe.batch_norm != "moving" and batch_norms(model):
            reestimate_batch_norm(model, estimation_batches(self.recipe, stage, self.data))

    def _start(self, stage: str) -> None:
        keras.backend.clear_session()
        keras.utils.set_random_seed(training_seed(self.recipe, stage))
        # The state of random layers then lies in variables, which a checkpoint keeps.
        keras.backend.experimental.enable_tf_random_generator()
        keras.mixed_precision.set_global_policy(self.recipe.mixed_precision)


def counted_replicas(recipe: Recipe, strategy: tf.distribute.Strategy) -> int:
    """Returns on how many replicas a training depends; 1 where it is the same on any number of them.

    Each replica takes the statistics of batch norm over its own part of a batch, unless they are
    synchronized.
    """
    return 1 if recipe.synchronized_batch_norm else strategy.num_replicas_in_sync


def _together(teachers: list[keras.Model]) -> object:
    """Returns what a `Distiller` takes for these teachers; None for none."""
    return Ensemble(teachers) if len(teachers) > 1 else (teachers or [None])[0]
