"""A stage that diverges ends at once, before its weights are kept."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf


class RequireFinite(keras.callbacks.Callback):
    """Ends training with an error at the first step whose loss or gradients are not finite.

    Keras' own `TerminateOnNaN` ends it as if all were well: the next stage would learn from the ruin. The
    gradients are looked at inside the graph, so that the step, the gradients and the weights are known also
    where one call makes many steps. Gradients that loss scaling skips do not count, until the scale has
    fallen to 1 and there is nothing left to scale down; a loss counts at once: it is not scaled.

    Args:
        title: What is trained, for the message.
        optimizer: The compiled model's; it is watched from now on.
        variables: What it trains.
        steps_per_epoch: Of the training.

    Raises:
        ValueError: During `fit`; it names the losses and the gradients and weights that are not finite.
    """

    def __init__(
        self,
        title: str,
        optimizer: keras.optimizers.Optimizer,
        variables: list[tf.Variable],
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        self._title, self._optimizer, self._variables = title, optimizer, variables
        self._steps = steps_per_epoch
        self._scaled = isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
        self._supports_tf_logs = True
        # The gradients are summed over the replicas first, so that all of them see the same.
        local: dict[str, Any] = {
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        self._bad_step = tf.Variable(-1, dtype=tf.int64, name="bad_step", **local)
        self._skipped = tf.Variable(False, name="skipped", **local)
        self._bad = tf.Variable(tf.zeros([2, len(variables)], tf.bool), name="bad", **local)
        self._watch()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the losses and at what the graph noted."""
        values = {name: float(value) for name, value in (logs or {}).items() if "loss" in name}
        losses = {name: value for name, value in values.items() if not np.isfinite(value)}
        step = int(self._bad_step.numpy())
        if not losses and step < 0:
            return
        if not losses and self._skipped.numpy():
            self._bad_step.assign(-1)
            return
        epoch, batch = divmod(step, self._steps) if step >= 0 else (self._epoch, batch)
        gradients, weights = (self._named(row) for row in self._bad.numpy())
        if step < 0:
            weights = self._named(not np.isfinite(variable).all() for variable in self._variables)
        received = ", ".join(f"{name} {value}" for name, value in losses.items())
        raise ValueError(
            f"The loss must stay finite. Received: {received or 'gradients that are not finite'} in step "
            f"{batch + 1} of epoch {epoch + 1} of the {self._title}. Not finite: gradients of "
            f"{gradients}; weights of {weights}. The last good checkpoint is kept. Lower its learning "
            "rate, or let it rise over some --warmup_epochs."
        )

    def _watch(self) -> None:
        optimizer, apply = self._optimizer, self._optimizer.apply_gradients
        inner = optimizer.inner_optimizer if self._scaled else optimizer

        def apply_gradients(
            pairs: Iterable[tuple[Any, Any]],
            skip_gradients_aggregation: bool = False,
            **options: Any,
        ) -> Any:
            pairs = list(pairs)
            if not skip_gradients_aggregation:
                pairs = list(inner.aggregate_gradients(pairs))
            self._note(pairs)
            return apply(pairs, skip_gradients_aggregation=True, **options)

        optimizer.apply_gradients = apply_gradients

    def _note(self, pairs: list[tuple[Any, Any]]) -> None:
        """Notes the first step whose gradients are not finite; in a graph."""
        by_variable = {variable.ref(): gradient for gradient, variable in pairs}
        gradients = [by_variable.get(variable.ref()) for variable in self._variables]
        bad = tf.stack([tf.constant(False) if g is None else _not_finite(g) for g in gradients])
        skipped = self._optimizer.loss_scale > 1 if self._scaled else tf.constant(False)
        # What is skipped is told only if the loss is bad too.
        counts = tf.reduce_any(bad) & ((self._bad_step < 0) | self._skipped & ~skipped)

        def note() -> tf.Tensor:
            self._skipped.assign(skipped)
            weights = tf.stack([_not_finite(variable) for variable in self._variables])
            self._bad.assign(tf.stack([bad, weights]))
            self._bad_step.assign(tf.cast(self._optimizer.iterations, tf.int64))
            return tf.constant(True)

        tf.cond(counts, note, lambda: tf.constant(False))

    def _named(self, flags: Iterable[bool]) -> str:
        pairs = zip(self._variables, flags, strict=True)
        return _shown([variable.name.split(":")[0] for variable, flag in pairs if flag])


def require_finite_weights(model: keras.Model, where: str) -> None:
    """Raises unless all weights of a model are finite, also those that no gradient reaches.

    A step may be the first whose result is not finite while its loss and gradients were: what it left must
    not become the last good checkpoint, or a finished stage.

    Args:
        model: What is about to be kept.
        where: The position and what is trained, for the message.

    Raises:
        ValueError: It names the weights.
    """
    floats = [weight for weight in model.weights if weight.dtype.is_floating]
    bad = [weight.name.split(":")[0] for weight in floats if bool(_not_finite(weight))]
    if bad:
        raise ValueError(
            f"The weights must stay finite. Received: {_shown(bad)} after {where}. The last good "
            "checkpoint is kept. Lower its learning rate, or let it rise over some --warmup_epochs."
        )


def _shown(names: list[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return shown or "none"


def _not_finite(value: Any) -> tf.Tensor:
    return ~tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(value)))
