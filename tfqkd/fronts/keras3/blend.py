"""The loss that Keras minimises for a `Distiller`, and the metrics of its training."""

import threading
from typing import Any

import keras

from tfqkd.fronts.keras3.hard_loss import CalledLoss
from tfqkd.fronts.keras3.notes import Notes
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.scheduled import ScheduledVariable
from tfqkd.fronts.keras3.soft_term import SoftTerm

_ops = keras.ops


class _Step(threading.local):
    """The step at hand: whether it trains, and the teacher's answers; of each replica, which has a thread."""

    training = False
    answers: Any = None


class Blend(keras.losses.Loss):
    """What Keras takes for the compiled loss: `(1-λ)·hard + λ·soft` in training, else the hard loss.

    Keras adds the regularisers, and divides by the number of replicas, as for any loss. So the hard loss is
    computed once.

    Attributes:
        step: The step at hand.
        trackers: The metrics of training.
        notes: What steps note of labels and answers.
    """

    def __init__(
        self,
        hard: CalledLoss,
        soft: SoftTerm | None,
        soft_weight: float,
        coefficient: ScheduledVariable,
        temperature: ScheduledVariable,
    ) -> None:
        super().__init__(name=hard.read.name, dtype="float32")
        self.hard, self.soft = hard, soft
        self._soft_weight = soft_weight
        self._coefficient, self._temperature = coefficient, temperature
        self.step = _Step()
        self.notes = Notes(hard.read, soft.task if soft else None)
        self._share = _One()
        self._means = {"hard_loss": keras.metrics.Mean(name="hard_loss")}
        self._lasts = {"coefficient": _Last(name="coefficient")}
        if soft:
            self._means["soft_loss"] = keras.metrics.Mean(name="soft_loss")
            if soft.task.agreement:
                self._means["agreement"] = keras.metrics.Mean(name="agreement")
        if soft is None or soft.task.softens:
            self._lasts["temperature"] = _Last(name="temperature")
        self.trackers = [*self._means.values(), *self._lasts.values()]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss of the batch at hand, and takes it down where the step trains."""
        logits = _ops.cast(y_pred, "float32")
        labels = self.notes.labels(y_true, logits)
        hard = self.hard(labels, logits, sample_weight)
        if not self.step.training:
            return hard
        coefficient = self._coefficient.advance()
        temperature = self._temperature.advance()
        # Keras divides losses by the number of replicas; 1 becomes its inverse.
        share = self._share(_ops.ones((1,)), _ops.ones((1,)))
        means, blended = {"hard_loss": hard / share}, (1 - coefficient) * hard
        if self.soft:
            self.notes.answers(self.step.answers)
            soft = self.soft.mean(self.step.answers, logits, labels, temperature, sample_weight)
            blended = blended + coefficient * self._soft_weight * soft
            means["soft_loss"] = soft / share
            if self.soft.task.agreement:
                agree = self.soft.task.agreement(self.step.answers, logits, OPS)
                means["agreement"] = _ops.mean(agree)
        batch = _ops.shape(logits)[0]
        for name, value in means.items():
            self._means[name].update_state(value, sample_weight=batch)
        values = {"coefficient": coefficient, "temperature": temperature}
        for name, tracker in self._lasts.items():
            tracker.update_state(values[name])
        return blended


class _One(keras.losses.Loss):
    """A loss of 1."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


class _Last(keras.metrics.Metric):
    """The value of the last step."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._value = self.add_variable((), "zeros", name="value", aggregation="only_first_replica")

    def update_state(self, value: Any) -> None:
        self._value.assign(_ops.cast(value, "float32"))

    def result(self) -> Any:
        # On TensorFlow `value` is the variable itself, which would be read when it is reset.
        return self._value.value + 0.0
