"""The loss that Keras minimises for a `Distiller`, and the metrics of its training."""

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.core.ops import NUMPY, Ops
from tfqkd.core.weights import Weight
from tfqkd.fronts.keras3.balance import Balances
from tfqkd.fronts.keras3.hard_loss import CalledLoss
from tfqkd.fronts.keras3.notes import Notes
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.scheduled import Schedules
from tfqkd.fronts.keras3.soft_term import SoftTerm
from tfqkd.fronts.keras3.step_terms import StepTerms
from tfqkd.fronts.terms import Raised

_ops = keras.ops
SOFT = "soft_loss"


# On TensorFlow each replica has a thread; torch.compile does not see what changes in a thread's own objects.
_Own: type = threading.local if keras.backend.backend() == "tensorflow" else object


class Step(_Own):
    """The step at hand, of each replica: whether it trains, and what the student's pass leaves for the loss.

    Attributes:
        training: Whether it trains.
        inputs: What the student was shown.
        taps: The outputs of its layers that terms read.
        raised: Its outputs in second passes.
        targets: The teacher's outputs, and those of its layers.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forgets the step."""
        self.training = False
        self.inputs: Any = None
        self.taps: Sequence[Any] = ()
        self.raised: Mapping[Raised, Any] = {}
        self.targets: tuple[Any, Sequence[Any]] = (None, ())


class Blend(keras.losses.Loss):
    """What Keras takes for the compiled loss: in training `(1-λ)·hard + λ·soft + Σ terms`, else `hard`.

    Keras adds the regularisers, and divides by the number of replicas, as for any loss. So the hard loss is
    computed once.

    Attributes:
        tracker: The metric of training.
        notes: What steps note of labels and targets.
    """

    def __init__(
        self,
        hard: CalledLoss,
        soft: SoftTerm | None,
        soft_weight: Weight,
        terms: StepTerms,
        schedules: Schedules,
        balances: Balances,
        step: Step,
    ) -> None:
        super().__init__(name=hard.read.name, dtype="float32")
        self.hard, self.soft, self._soft_weight = hard, soft, soft_weight
        self._terms, self._schedules, self._step = terms, schedules, step
        self._balances = balances
        self.notes = Notes(hard.read, soft.task if soft else None)
        self._share = _One()
        names = ["hard_loss", *(soft.logged if soft else []), *(term.name for term in terms.terms)]
        softens = soft is None or soft.task.softens
        settings = ["coefficient", *(["temperature"] if softens else [])]
        self.tracker = _Logs(names, [*settings, *map(_logged, balances.names)])

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of the batch at hand, and notes it where the step trains."""
        found = self._losses(y_true, y_pred, sample_weight)
        if not self._step.training:
            return found.hard
        scheduled, share = found.scheduled, found.share
        balanced = self._balances.weights if self._balances else {}
        blended = (1 - scheduled["coefficient"]) * found.hard
        if self.soft:
            weight = balanced.get(SOFT, self._soft_weight)
            blended = blended + scheduled["coefficient"] * weight * found.soft
        for name, value in found.terms.items():
            weight = scheduled[f"{name}_weight"]
            weight = balanced[name] * weight if name in balanced else weight
            blended = blended + weight * value * share
        means = found.means()
        if self.soft:
            targets, logits = self._step.targets[0], found.logits
            self.notes.targets(targets)
            if self.soft.task.agreement:
                means["agreement"] = _ops.mean(self.soft.task.agreement(targets, logits, OPS))
        settings = scheduled | {_logged(name): value for name, value in balanced.items()}
        self.tracker.update_state(means, settings, _ops.shape(found.logits)[0])
        return blended

    def means(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Returns the mean of each loss over this replica's part of the batch at hand, by name."""
        return self._losses(y_true, y_pred, sample_weight).means()

    def _losses(self, y_true: Any, y_pred: Any, sample_weight: Any) -> "_Losses":
        step = self._step
        logits = _ops.cast(y_pred, "float32")
        labels = self.notes.labels(y_true, logits)
        found = _Losses(logits, self.hard(labels, logits, sample_weight))
        if not step.training:
            return found
        found.scheduled = self._schedules.advance()
        # Keras divides losses by the number of replicas; 1 becomes its inverse.
        found.share = share = self._share(_ops.ones((1,)), _ops.ones((1,)))
        if self.soft:
            temperature = found.scheduled["temperature"]
            found.soft = self.soft.mean(step.targets[0], logits, labels, temperature, sample_weight)
        found.terms = self._terms.losses(
            step.inputs,
            labels,
            (logits, step.taps),
            step.targets,
            step.raised,
            lambda outputs: self.hard(labels, outputs, sample_weight) / share,
        )
        return found


@dataclasses.dataclass
class _Losses:
    """The losses of a batch, unweighted.

    Attributes:
        logits: The student's outputs, float32.
        hard: Divided by the number of replicas, as Keras does.
        scheduled: The settings of the step.
        share: The inverse of that number.
        soft: As `hard`; None where there is none.
        terms: By name; not divided.
    """

    logits: Any
    hard: Any
    scheduled: dict[str, Any] = dataclasses.field(default_factory=dict)
    share: Any = 1.0
    soft: Any = None
    terms: dict[str, Any] = dataclasses.field(default_factory=dict)

    def means(self) -> dict[str, Any]:
        """Returns the means over this replica's examples, by name."""
        soft = {} if self.soft is None else {SOFT: self.soft / self.share}
        return {"hard_loss": self.hard / self.share, **soft, **self.terms}


def _logged(name: str) -> str:
    """The name under which the weight of a balanced loss is logged."""
    return f"{name}_weight"


class _One(keras.losses.Loss):
    """A loss of 1."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


class _Logs(keras.metrics.Metric):
    """What training logs: means over examples, and the settings of the last step.

    Two variables hold all of it, since a step on JAX pays for each.

    Attributes:
        names: Of all.

    Args:
        means: Names of the means.
        settings: Names of the settings.
    """

    def __init__(self, means: list[str], settings: list[str]) -> None:
        super().__init__(name="distillation")
        self._means, self._settings = means, settings
        self.names = [*means, *settings]
        self._sums = self.add_variable((1 + len(means),), "zeros", name="count_and_totals")
        self._last = self.add_variable(
            (len(settings),), "zeros", name="settings", aggregation="only_first_replica"
        )

    def update_state(self, means: dict[str, Any], settings: dict[str, Any], count: Any) -> None:
        """Adds the means of a batch of so many examples, and notes the settings."""
        count = _ops.cast(count, "float32")
        totals = [count, *(count * _ops.cast(means[name], "float32") for name in self._means)]
        self._sums.assign_add(_ops.stack(totals))
        self._last.assign(_ops.stack([settings[name] for name in self._settings]))

    def result(self) -> dict[str, Any]:
        """Returns all of it by name."""
        ops, (sums, last) = _at_hand(self._sums.value, self._last.value)
        means = ops.divide_no_nan(sums[1:], sums[0])
        values = [each[index] for each in (means, last) for index in range(each.shape[0])]
        return dict(zip(self.names, values, strict=True))


def _at_hand(*arrays: Any) -> tuple[Ops, Sequence[Any]]:
    """Arrays, and what computes with them: on JAX each slice of one takes long outside of a step."""
    if keras.backend.backend() == "jax":
        from tfqkd.fronts.keras3.step_logs import is_known  # noqa: PLC0415 (of the backend)

        if all(map(is_known, arrays)):
            return NUMPY, [np.asarray(each) for each in arrays]
    return OPS, arrays
