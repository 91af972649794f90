"""One trial: a setting at all seeds of the study, each a call of `run`."""

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.tensorboard import EventFile
from tfqkd.fronts.trainer import Watcher
from tfqkd.recipe.recipe import Recipe
from tfqkd.runtime.evaluation import evaluate_logits
from tfqkd.study import attributes
from tfqkd.study.plan import Plan
from tfqkd.study.queue import settings_of, to_parameter
from tfqkd.study.seed_result import SeedResult, read_seed_result, softened_entropy
from tfqkd.training.checking import check
from tfqkd.training.execution import data_of, execution_of, front_of, load_data, strategy_of
from tfqkd.training.making import Maker
from tfqkd.training.presets import PAPER
from tfqkd.training.products import Products, model_key
from tfqkd.training.results import Results
from tfqkd.training.run import run

if TYPE_CHECKING:
    import optuna

    from tfqkd.study.local import LocalTrial

_ACCURACY = "val_accuracy"


class PruneByEpoch(Watcher):
    """Reports the validation accuracy after every epoch, and ends a trial that its pruner gives up.

    Args:
        trial: The trial.

    Raises:
        optuna.TrialPruned: During `fit`.
    """

    def __init__(self, trial: "optuna.Trial | LocalTrial") -> None:
        self._trial: Any = trial

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Reports, and asks the pruner."""
        self._trial.report(float(logs[_ACCURACY]), epoch + 1)
        if self._trial.should_prune():
            import optuna  # noqa: PLC0415 (what has no pruner needs none of it)

            raise optuna.TrialPruned(f"after epoch {epoch + 1}")


class TrialRunner:
    """Runs the trials of a study in this process.

    Args:
        plan: Of the study.
        directory: Of the study: gets `trials/NUMBER-seedSEED` and `products`.
        status: Shows the progress: `begin` a trial, and the progress of a `stage`.
    """

    def __init__(self, plan: Plan, directory: pathlib.Path, status: Any) -> None:
        self._plan, self._directory, self._status = plan, directory, status
        self._data: tuple[dict[str, Any], ImageData] | None = None
        self._logits: dict[str, np.ndarray] = {}

    def check(self) -> None:
        """Loads the data and builds every pair of models that the study trains, untrained.

        Raises:
            ValueError: If a model does not fit the data.
            FileNotFoundError: If the data are not there.
        """
        seen = set()
        for settings in self._plan.space.corners():
            recipe = self._plan.trial_recipe(settings, False, self._plan.recipe.run.seed)
            models = (
                (recipe.teacher.network, recipe.teacher.weights),
                (recipe.student.network, recipe.student.weights),
                recipe.quantize.bits,
                recipe.data.dataset,
                recipe.quantized.own,
            )
            if models not in seen:
                seen.add(models)
                store = Products(self._directory / "products")
                front, execution = front_of(recipe), execution_of(recipe)
                strategy = strategy_of(recipe, front)
                maker = Maker(self._load(recipe), store, front, strategy, execution)
                check(PAPER(recipe), (), maker, {})

    def __call__(self, trial: "optuna.Trial | LocalTrial") -> float:
        """Returns the mean validation accuracy over the seeds, of the models that are kept."""
        settings = settings_of(trial, self._plan)
        control = attributes.CONTROL in trial.user_attrs
        trial.set_user_attr(attributes.SETTINGS, settings)
        self._status.begin(trial.study, trial.number, settings, control)
        # A control has no settings that a sampler could learn from, and is never given up.
        prunes = not control and self._plan.pruner != "none"
        accuracies = []
        for index, seed in enumerate(self._plan.seeds):
            recipe = self._plan.trial_recipe(settings, control, seed)
            callbacks: list[Any] = [PruneByEpoch(trial)] if prunes and not index else []
            result = self._run(trial.number, recipe, settings, callbacks)
            trial.set_user_attr(attributes.of_seed(seed), dataclasses.asdict(result))
            accuracies.append(result.validation_accuracy)
        return statistics.fmean(accuracies)

    def _run(
        self,
        number: int,
        recipe: Recipe,
        settings: dict[str, Any],
        callbacks: Sequence[PruneByEpoch],
    ) -> SeedResult:
        path = self._directory / "trials" / f"{number:04d}-seed{recipe.run.seed}"
        data = self._load(recipe)
        results = run(
            recipe,
            path,
            self._directory / "products",
            data=data,
            callbacks=callbacks,
            progress=self._status.stage,
        )
        result = read_seed_result(path, results, _validation_accuracy(path, results, data, recipe))
        if recipe.has_teacher:
            logits = self._teacher_logits(path, results, data, recipe)
            entropy = softened_entropy(logits, recipe.distil.temperature)
            result = dataclasses.replace(result, teacher_entropy=entropy)
        _write_hparams(path / "tensorboard", settings, recipe, result)
        return result

    def _load(self, recipe: Recipe) -> ImageData:
        asked = data_of(recipe)
        if self._data is None or self._data[0] != asked:
            self._data = asked, load_data(recipe)
        return self._data[1]

    def _teacher_logits(
        self, path: pathlib.Path, results: Results, data: ImageData, recipe: Recipe
    ) -> np.ndarray:
        """Mean logits of the teachers on the validation images, kept from trial to trial."""
        total = []
        for model in results.teachers:
            file = (path / model.model).resolve()
            key = f"{model_key(file)} {data.fingerprint}"
            if key not in self._logits:
                self._logits[key] = _logits(file, _held_back(data), recipe)
            total.append(self._logits[key])
        return np.mean(total, axis=0)


def _validation_accuracy(
    path: pathlib.Path, results: Results, data: ImageData, recipe: Recipe
) -> float:
    student = path / results.student.model
    images = _held_back(data)
    return evaluate_logits(_logits(student, images, recipe), images.labels).accuracy


def _logits(model: pathlib.Path, split: Split, recipe: Recipe) -> np.ndarray:
    front = front_of(recipe)
    return front.logits(front.load(model), split.images)


def _held_back(data: ImageData) -> Split:
    if data.validation is None:
        raise AssertionError("A plan has validation images.")
    return data.validation


def _write_hparams(
    path: pathlib.Path, settings: dict[str, Any], recipe: Recipe, result: SeedResult
) -> None:
    values = {name: to_parameter(value) for name, value in settings.items()}
    file = EventFile(path)
    file.add_summary(
        hparams_pb(
            {**values, "seed": recipe.run.seed, "control": recipe.distil.soft_loss == "none"}
        )
    )
    accuracies = {
        "validation_accuracy": result.validation_accuracy,
        "test_accuracy": result.test_accuracy,
    }
    file.add_scalars(accuracies, step=int(result.curves["epoch"][-1]))
    file.close()
