"""Makes the stages of a run, each when it is first asked for, and its inputs before it."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tfqkd.data.images import ImageData
from tfqkd.fronts.foreign import ForeignTeacher
from tfqkd.fronts.front import Front, Model, Strategy
from tfqkd.fronts.settings import Training
from tfqkd.fronts.terms import Term
from tfqkd.fronts.trainer import Logits
from tfqkd.methods.hooks import terms_of
from tfqkd.progress import MakeProgress, ProgressBar
from tfqkd.recipe.models import is_saved, saved_model
from tfqkd.training.fitting import fit, fitting_of
from tfqkd.training.format_trial import FormatTrialWatcher
from tfqkd.training.products import (
    LAYERS_FILE,
    MODEL_FILE,
    SUMMARY_FILE,
    Products,
    model_key,
)
from tfqkd.training.stage import Execution, Source, Stage
from tfqkd.training.teacher_cache import TeacherCache


class Maker:
    """Makes stages: trains what is not there, and goes on with what was interrupted.

    Args:
        data: What all stages are trained on.
        products: Where their products are kept.
        front: Makes and trains the models.
        strategy: Where they are trained.
        execution: How.
        progress: Makes the watcher that shows the progress of a stage.
        general: What stages are trained on that take general data.
        trial: Of the formats that the last stage is exported in; nothing is kept before they have passed.
    """

    def __init__(
        self,
        data: ImageData,
        products: Products,
        front: Front,
        strategy: Strategy,
        execution: Execution,
        progress: MakeProgress = ProgressBar,
        general: ImageData | None = None,
        trial: FormatTrialWatcher | None = None,
    ) -> None:
        self.data, self.products, self.front = data, products, front
        self.trial = trial or FormatTrialWatcher()
        self._general = general
        self.strategy, self.execution = strategy, execution
        self._progress = progress
        self._files: dict[str, str] = {}

    def key(self, stage: Stage) -> dict[str, Any]:
        """Returns all that a stage's result depends on: its settings, its inputs, the data."""
        replicas = counted_replicas(stage.training, self.strategy)
        return {
            **stage.settings(),
            **({"start": self.name(stage.start)} if stage.start else self._weights(stage)),
            **({"teachers": list(map(self.name, stage.teachers))} if stage.teachers else {}),
            # One replica is what any number of them is where they change nothing.
            **({"replicas": replicas} if replicas > 1 else {}),
            "data": self.data_of(stage).fingerprint,
        }

    def data_of(self, stage: Stage) -> ImageData:
        """Returns what a stage is trained on."""
        if not stage.on_general:
            return self.data
        assert self._general is not None
        return self._general

    def name(self, source: Source) -> str:
        """Returns what a model is, for a key: the name of its product, or the digest of its file."""
        if isinstance(source, Stage):
            return self.products.path(source.role, self.key(source)).name
        return self._key_of_file(source.network)

    def _weights(self, stage: Stage) -> dict[str, str]:
        """Returns what is added to a key where a stage starts from a file of weights."""
        return {"weights": self._key_of_file(stage.weights)} if stage.weights else {}

    def _key_of_file(self, path: str) -> str:
        if path not in self._files:
            self._files[path] = model_key(saved_model(path))
        return self._files[path]

    def path(self, source: Source) -> pathlib.Path:
        """Returns the file of a model, whether it is there or not."""
        if isinstance(source, Stage):
            return self.products.directory / self.name(source) / MODEL_FILE
        return saved_model(source.network)

    def is_done(self, source: Source) -> bool:
        """Whether a model is there, so that nothing is to be trained for it."""
        return self.path(source).parent.is_dir() if isinstance(source, Stage) else True

    def make(self, source: Source, callbacks: Sequence[Any] = ()) -> pathlib.Path:
        """Returns the file of a model, trained if it was not.

        Args:
            source: The stage, or the file that is returned as it is.
            callbacks: Of the training, besides those that every stage has.
        """
        if isinstance(source, Stage):
            # Also where it is done: all workers ask for the same products.
            for each in source.inputs:
                self.make(each)
            self.products.get(
                source.role,
                self.key(source),
                lambda partial: self._train(partial, source, callbacks),
                source.title,
            )
        return self.path(source)

    def build(self, network: str, weights: str = "", seed: int | None = None) -> Model:
        """Builds an architecture; a path of one is loaded.

        Args:
            network: Its name or path.
            weights: The file of its weights; "" for random ones.
            seed: Of random weights; None goes on with the random numbers of the stage.
        """
        if is_saved(network):
            return self.front.load(saved_model(network))
        data = self.data
        mean, std = data.mean, data.std
        return self.front.build(
            network,
            data.image_shape,
            data.classes,
            mean=mean,
            std=std,
            weights=pathlib.Path(weights) if weights else None,
            seed=seed,
        )

    def quantized(self, model: Model, stage: Stage) -> Model:
        """Returns a model as the stage begins to train it."""
        for method in stage.methods:
            model = method.model(self.front, model)
        if stage.quantization is None:
            return model
        model = self.front.quantize(model, stage.quantized)
        if stage.quantization.scheme.activations:
            data = self.data_of(stage)
            self.front.calibrate(model, fitting_of(stage, self.execution, data), data)
        return model

    def terms(self, stage: Stage, model: Model, teachers: Sequence[Model]) -> list[Term]:
        """Returns what the methods of a stage add to its loss.

        Args:
            stage: Whose methods they are.
            model: As the stage begins to train it.
            teachers: Live ones.

        Raises:
            ValueError: If a method cannot do with these networks.
        """

        def build(network: str | None, seed: int) -> Model:
            return self.build(network or stage.network, seed=seed)

        def twin() -> Model:
            float_one = build(None, stage.training.seed)
            for method in stage.methods:
                float_one = method.model(self.front, float_one)
            return (
                self.front.quantize(float_one, stage.quantized) if stage.quantization else float_one
            )

        return terms_of(stage.methods, self.front, model, teachers, build, twin)

    @property
    def cache(self) -> pathlib.Path:
        """Where teachers' logits are kept."""
        return self.execution.cache or self.products.directory

    def _train(self, partial: pathlib.Path, stage: Stage, callbacks: Sequence[Any]) -> None:
        front = self.front
        front.start(stage.training.seed, stage.precision)
        with self.trial.undone(partial):
            kept = self._kept_logits(stage)
            with self.strategy.scope():
                model, stripped = self._trained(partial, stage, kept, callbacks)
        if stage.quantization:
            front.save_wrapped(model, partial)
        front.save(stripped, partial / MODEL_FILE)
        summary, layers = front.summary(model)
        (partial / SUMMARY_FILE).write_text(f"{summary}\n", encoding="utf-8")
        (partial / LAYERS_FILE).write_text(json.dumps(layers, indent=2) + "\n")

    def _trained(
        self,
        partial: pathlib.Path,
        stage: Stage,
        kept: list[Logits],
        callbacks: Sequence[Any],
    ) -> tuple[Model, Model]:
        """Returns the trained model, and a copy without the optimizer, which the .keras format would keep."""
        front = self.front
        start = stage.start
        model = front.load(self.path(start)) if start else self.build(*stage.architecture)
        model = self.quantized(model, stage)
        fit(
            front,
            self._taught(model, stage, kept),
            partial,
            stage=stage,
            execution=self.execution,
            data=self.data_of(stage),
            workers=self.strategy.workers,
            progress=self._progress,
            callbacks=[self.trial, *self._quantization_callbacks(stage), *callbacks],
            teacher_logits=kept,
        )
        return model, front.strip(model)

    def _taught(self, model: Model, stage: Stage, kept: list[Logits]) -> Model:
        live = [] if kept else [self.front.load(self.path(each)) for each in stage.teachers]
        terms = self.terms(stage, model, live)
        if stage.distillation is None and not terms:
            return model
        return self.front.taught(model, live, bool(kept), stage.distillation, terms)

    def _quantization_callbacks(self, stage: Stage) -> list[Any]:
        return self.front.quantization_callbacks(stage.quantized) if stage.quantization else []

    def _kept_logits(self, stage: Stage) -> list[Logits]:
        """Returns the teachers' logits for each fixed view; none if views are drawn again."""
        if not (stage.training.fixed_views and stage.teachers):
            return []
        self.trial.require()
        front, workers = self.front, self.strategy.workers
        # Outside the strategy's scope: there workers read variables together, but one asks alone.
        loaded = [
            ForeignTeacher(self.path(each)) if each.is_foreign else front.load(self.path(each))
            for each in stage.teachers
        ]
        prints = [
            model_key(self.path(source)) if source.is_foreign else front.model_fingerprint(model)
            for source, model in zip(stage.teachers, loaded, strict=True)
        ]
        if not workers.is_chief:
            workers.wait()
        logits = TeacherCache(
            self.cache,
            front.together(loaded, stage.distillation),
            self.data.train,
            stage.training.augmentation,
            stage.training.fixed_views,
            identity=_identity(stage, prints),
            limit_gb=self.execution.cache_limit_gb,
            front=front,
        ).logits()
        if workers.is_chief:
            workers.wait()
        return logits


def _identity(stage: Stage, fingerprints: Sequence[str]) -> str:
    """What the teachers of a stage are together; their mean logits need no more than their names."""
    distillation = stage.distillation
    combined = distillation.combination() if distillation and distillation.combine else ()
    return ",".join([*fingerprints, *map(str, combined)])


def counted_replicas(training: Training, strategy: Strategy) -> int:
    """Returns on how many replicas a training depends; 1 where it is the same on any number of them.

    Each replica takes the statistics of batch norm over its own part of a batch, unless they are
    synchronized.
    """
    return 1 if training.synchronized_batch_norm else strategy.replicas
