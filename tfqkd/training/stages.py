"""The stages of a run: teacher, float student, quantized student, export. Each makes one product."""

import dataclasses
import json
import pathlib
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import evaluation_batches, steps_per_epoch, training_batches
from tfqkd.data.images import ImageData
from tfqkd.distillation import schedules
from tfqkd.distillation.callbacks import CoefficientScheduler
from tfqkd.distillation.distiller import Distiller
from tfqkd.distillation.teachers import LOGITS_IN_BATCH, Ensemble, require_logits
from tfqkd.export.exporter import export
from tfqkd.models import build
from tfqkd.quantization.batch_norm import reestimate_batch_norm
from tfqkd.quantization.calibration import calibrate_activations
from tfqkd.quantization.gradual import GradualQuantization
from tfqkd.quantization.model import quantize_model, require_quantizable, strip_quantization
from tfqkd.quantization.summary import quantization_summary
from tfqkd.training.batch_norm import synchronize_batch_norm
from tfqkd.training.checkpoints import Checkpoints, Position
from tfqkd.training.divergence import RequireFinite
from tfqkd.training.history import History
from tfqkd.training.interruption import deferred
from tfqkd.training.model_files import require_data_only
from tfqkd.training.optimizers import make_optimizer
from tfqkd.training.products import CHECKPOINTS, Products, file_fingerprint
from tfqkd.training.progress import MakeProgress, ProgressBar
from tfqkd.training.recipe import Recipe
from tfqkd.training.rules import is_model_path
from tfqkd.training.saving import Interval, SaveCheckpoints
from tfqkd.training.schemes import scheme_of
from tfqkd.training.settings import EXPORT, FLOAT_BITS, QUANTIZED, STUDENT, TEACHER
from tfqkd.training.teacher_cache import TeacherCache, cache_bytes, model_fingerprint, require_space
from tfqkd.training.tensorboard import EpochLogs
from tfqkd.training.workers import Workers

MODEL_FILE = "model.keras"
WRAPPED_FILE = "quantized.h5"
HISTORY_FILE = "history.csv"
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
        return self._float_model(STUDENT, self.recipe.student)

    def quantized(self) -> pathlib.Path:
        """Returns the product of the quantized student: stripped model, wrapped weights, history."""
        teachers, student = self.teachers(), self.student()
        key = {
            **self._key(QUANTIZED),
            "teachers": [model_key(path) for path in teachers],
            "student": model_key(student),
        }
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
                images=self.data.test.images[:VERIFIED_IMAGES],
                calibration=self.data.train.images[:CALIBRATION_IMAGES],
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
            ValueError: If a model does not fit the data set, ends in softmax, or computes in another
                precision.
        """
        steps_per_epoch(self.data.train, self.recipe.batch_size)
        teachers = [(TEACHER, name) for name in self.recipe.teachers()]
        for role, name in (*teachers, (STUDENT, self.recipe.student)):
            model = self._build(name)
            _require_fit(name, model, self.data)
            require_logits(model, role)
        if is_model_path(self.recipe.student):
            _require_precision(self.recipe.student, model, self.recipe.mixed_precision)
        if self.recipe.bits != FLOAT_BITS:
            scheme = scheme_of(self.recipe)
            policy = self.recipe.bits_by_layer() or None
            scheme.configs(model, require_quantizable(model, scheme, policy))
        if self.recipe.has_teacher:
            size = cache_bytes(len(self.data.train), self.data.classes, self.recipe.teacher_views)
            require_space(self._cache_directory, size, 0, self.recipe.teacher_cache_limit_gb)

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

    def _some_batches(self, count: int) -> tf.data.Dataset:
        """The batches of the quantized stage's first training steps."""
        recipe, data = self.recipe, self.data
        batches = training_batches(
            data.train,
            batch_size=recipe.batch_size,
            classes=data.classes,
            seed=recipe.seed_of(QUANTIZED),
            augmentation=self._augmentation,
            epochs=count,
        )
        return batches.take(count)

    def _gradual_callbacks(self) -> list[keras.callbacks.Callback]:
        recipe = self.recipe
        if recipe.gradual_bits or recipe.gradual_share:
            return [GradualQuantization(recipe.gradual_shares())]
        return []

    def _float_model(self, stage: str, name: str) -> pathlib.Path:
        if is_model_path(name):
            return pathlib.Path(name)
        settings = {**self.recipe.stage_settings(stage), stage: name}
        key = {**self._key(stage), "settings": settings}

        def make(partial: pathlib.Path) -> None:
            recipe = self.recipe
            epochs = recipe.teacher_epochs if stage == TEACHER else recipe.student_epochs
            self._start(stage)
            with self.strategy.scope():
                model = self._build(name)
                title = f"float {stage} ({name}), seed {recipe.seed_of(stage)}"
                self._train(stage, title, partial, model, recipe.learning_rate, epochs)
            # A copy without the optimizer, whose state the .keras format would keep.
            strip_quantization(model).save(partial / MODEL_FILE)

        return self.products.get(stage, key, make) / MODEL_FILE

    def _train_quantized(
        self, partial: pathlib.Path, teachers: list[pathlib.Path], student: pathlib.Path
    ) -> None:
        recipe = self.recipe
        self._start(QUANTIZED)
        with self.strategy.scope():
            loaded = [load_model(path) for path in teachers]
            teacher = Ensemble(loaded) if len(loaded) > 1 else (loaded or [None])[0]
            kept = self._kept_logits(loaded, teacher) if recipe.teacher_views else []
            model = load_model(student)
            if recipe.bits != FLOAT_BITS:
                model = self._quantize(model)
            if recipe.activation_bits != FLOAT_BITS:
                calibrate_activations(model, self._some_batches(1))
            network: keras.Model = model
            schedule = None
            if recipe.distils:
                network = Distiller(
                    model,
                    LOGITS_IN_BATCH if kept else teacher,
                    temperature=recipe.temperature,
                    coefficient=recipe.coefficient,
                    soft_loss=recipe.soft_loss,
                    scale_by_temperature_squared=recipe.scale_by_temperature_squared,
                )
                schedule = coefficient_schedule(recipe)
            self._train(
                QUANTIZED,
                f"{recipe.title} ({recipe.student}), seed {recipe.seed}",
                partial,
                network,
                recipe.quantized_learning_rate,
                recipe.quantized_epochs,
                schedule,
                [*self._gradual_callbacks(), *self.callbacks],
                kept,
            )
            if recipe.reestimate_batches:
                reestimate_batch_norm(model, self._some_batches(recipe.reestimate_batches))
            stripped = strip_quantization(model)
        with warnings.catch_warnings():
            # Keras calls h5 legacy, but a wrapped model does not load from its new format.
            warnings.simplefilter("ignore", UserWarning)
            model.save(partial / WRAPPED_FILE, include_optimizer=False)
        stripped.save(partial / MODEL_FILE)
        summary = quantization_summary(model, print_fn=None)
        (partial / SUMMARY_FILE).write_text(f"{summary}\n", encoding="utf-8")
        layers = [dataclasses.asdict(layer) for layer in summary.layers]
        (partial / LAYERS_FILE).write_text(json.dumps(layers, indent=2) + "\n")

    def _kept_logits(self, loaded: list[keras.Model], teacher: object) -> list[tf.Tensor]:
        """Returns the teacher's logits for each fixed view; none without a teacher."""
        if not loaded:
            return []
        workers = Workers(self.strategy)
        if not workers.is_chief:
            workers.wait()
        logits = TeacherCache(
            self._cache_directory,
            teacher,
            self.data.train,
            self._augmentation,
            self.recipe.teacher_views,
            identity=",".join(map(model_fingerprint, loaded)),
            limit_gb=self.recipe.teacher_cache_limit_gb,
        ).logits()
        if workers.is_chief:
            workers.wait()
        return logits

    @property
    def _augmentation(self) -> Augmentation:
        return Augmentation(self.recipe.crop_padding, self.recipe.flip)

    def _start(self, stage: str) -> None:
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.recipe.seed_of(stage))
        # The state of random layers then lies in variables, which a checkpoint keeps.
        keras.backend.experimental.enable_tf_random_generator()
        keras.mixed_precision.set_global_policy(self.recipe.mixed_precision)

    def _train(
        self,
        stage: str,
        title: str,
        partial: pathlib.Path,
        network: keras.Model,
        learning_rate: float,
        epochs: int,
        schedule: schedules.Schedule | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        teacher_logits: list[tf.Tensor] | None = None,
    ) -> None:
        """Trains a network, or goes on where an interrupted call stopped."""
        recipe, data = self.recipe, self.data
        trained = network.student if isinstance(network, Distiller) else network
        steps = steps_per_epoch(data.train, recipe.batch_size)
        ema = recipe.ema if stage == QUANTIZED else 0.0
        if recipe.synchronized_batch_norm:
            synchronize_batch_norm(trained)
        network.compile(
            make_optimizer(recipe, learning_rate, epochs, steps, trained, ema),
            keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=recipe.label_smoothing
            ),
            metrics=["accuracy"],
            jit_compile=recipe.jit_compile,
            steps_per_execution=recipe.steps_per_execution,
        )
        workers = Workers(self.strategy)
        checkpoints = Checkpoints(
            partial / CHECKPOINTS, network, trained, recipe.checkpoints_kept, workers.is_chief
        )
        start = checkpoints.restore()
        workers.require_same("checkpoints", *start)
        if start.epoch >= epochs:
            if ema:
                # Keras does it after the last epoch, and so after the last checkpoint.
                network.optimizer.finalize_variable_values(trained.trainable_variables)
            return
        if start > (0, 0):
            print(f"{title}: goes on after {start}.", flush=True)
        network._training_state = _Start(start)
        bar = self.progress(title, epochs, steps, recipe.batch_size, start.epoch)
        batches = training_batches(
            data.train,
            batch_size=recipe.batch_size,
            classes=data.classes,
            seed=recipe.seed_of(stage),
            augmentation=self._augmentation,
            epochs=epochs,
            first_epoch=start.epoch,
            first_step=start.step,
            fixed_views=recipe.teacher_views if stage == QUANTIZED else 0,
            teacher_logits=teacher_logits or (),
        )
        validation = data.validation and evaluation_batches(
            data.validation, batch_size=recipe.batch_size, classes=data.classes
        )
        callbacks = [
            *callbacks,
            EpochLogs(
                partial / "tensorboard",
                write_graph=False,
                profile_batch=recipe.profiled_steps() or 0,
            ),
            History(partial / HISTORY_FILE, start.epoch),
            RequireFinite(title, network.optimizer, trained.trainable_variables, steps),
            bar,
            SaveCheckpoints(
                checkpoints,
                trained,
                start,
                steps,
                Interval.parse(recipe.checkpoint_every),
                title,
                workers,
            ),
        ]
        if schedule:
            scheduler = CoefficientScheduler(schedule, recipe.schedule_on, start.step)
            callbacks.insert(0, scheduler)
        try:
            with deferred():
                network.fit(
                    batches,
                    epochs=epochs,
                    initial_epoch=start.epoch,
                    steps_per_epoch=steps,
                    validation_data=validation,
                    verbose=0,
                    callbacks=callbacks,
                )
        finally:
            bar.close()


@dataclasses.dataclass(frozen=True)
class _Start:
    """Tells `fit` where to start; of all that it takes, this alone can name a step inside an epoch."""

    position: Position

    def maybe_load_initial_counters_from_ckpt(self, *_: Any, **__: Any) -> Position:
        return self.position


def load_model(path: pathlib.Path) -> keras.Model:
    """Loads a saved Keras model for inference.

    Raises:
        ValueError: If the file is no Functional or Sequential Keras model, or holds code to execute.
    """
    try:
        require_data_only(path)
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        if not getattr(model, "inputs", None):
            raise TypeError(f"a {type(model).__name__} without inputs")
    except Exception as error:
        raise ValueError(
            "A model must be a saved Functional or Sequential tf_keras model (.keras, .h5 or SavedModel). "
            f"Received: {path}, which does not load ({error}). Save it with model.save(...) under tf_keras."
        ) from error
    return model


def counted_replicas(recipe: Recipe, strategy: tf.distribute.Strategy) -> int:
    """Returns on how many replicas a training depends; 1 where it is the same on any number of them.

    Each replica takes the statistics of batch norm over its own part of a batch, unless they are
    synchronized.
    """
    return 1 if recipe.synchronized_batch_norm else strategy.num_replicas_in_sync


def coefficient_schedule(recipe: Recipe) -> schedules.Schedule:
    """Returns the schedule of the soft loss's coefficient."""
    start, end = recipe.coefficient, recipe.coefficient_end
    kinds: dict[str, Callable[[], schedules.Schedule]] = {
        "constant": lambda: schedules.Constant(start),
        "gradual": lambda: schedules.Linear(start, end),
        "cosine": lambda: schedules.Cosine(start, end),
        "exponential": lambda: schedules.Exponential(start, end),
        "step": lambda: schedules.Step(start, recipe.milestones, recipe.learning_rate_factor),
    }
    return kinds[recipe.schedule]()


def model_key(path: pathlib.Path) -> str:
    """Returns what a model is, for a fingerprint: the product it lies in, or its contents."""
    product = path.parent / "product.json"
    return path.parent.name if product.exists() else file_fingerprint(path)


def _require_fit(name: str, model: keras.Model, data: ImageData) -> None:
    shapes = (model.input_shape[1:], model.output_shape[1:])
    wanted = (tuple(data.image_shape), (data.classes,))
    fits = all(
        have in (None, want)
        for has, wants in zip(shapes, wanted, strict=True)
        for have, want in zip(has, wants, strict=len(has) == len(wants))
    )
    if not fits or any(len(has) != len(want) for has, want in zip(shapes, wanted, strict=True)):
        raise ValueError(
            f"A model must fit the data set {data.name}: images {wanted[0]}, {data.classes} classes. "
            f"Received: {name}, from {shapes[0]} to {shapes[1]}. Choose another model or data set."
        )


def _require_precision(name: str, model: keras.Model, policy: str) -> None:
    """A saved student is trained in the precision of its file, whatever the policy: they must agree."""
    wanted = keras.mixed_precision.Policy(policy).compute_dtype
    found = {layer.compute_dtype for layer in model.layers if layer.weights}
    # Single layers, such as the logits, are float32 under every policy.
    if not {wanted} <= found <= {wanted, "float32"}:
        raise ValueError(
            "A saved student must compute in the precision of the run. "
            f"Received: {name}, whose layers compute in {', '.join(sorted(found))}, with "
            f"mixed_precision={policy}. Set --mixed_precision to what it has, or build it under "
            "keras.mixed_precision.set_global_policy(...), load its weights and save it again."
        )
