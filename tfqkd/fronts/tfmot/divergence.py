"""A stage that diverges ends before its weights are kept, and says where it did."""

from collections.abc import Iterable
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.metrics import built_metrics


class Divergence:
    """Notes the first step of a training whose losses or gradients are not finite, in variables.

    Keras' own `TerminateOnNaN` waits for the loss at every step, and ends a training as if all were well:
    the next stage would learn from the ruin. Here the step notes its number, its losses, gradients and
    weights inside the graph, also where one call makes many steps; nothing waits until `require_none` asks.
    Gradients that loss scaling skips do not count, until the scale has fallen to 1 and there is nothing left
    to scale down; a loss counts at once: it is not scaled.

    Args:
        title: What is trained, for the message.
        network: What trains, compiled; its steps and its optimizer are watched from now on.
        trained: The network whose weights it trains.
        steps_per_epoch: Of the training.
    """

    def __init__(
        self, title: str, network: keras.Model, trained: keras.Model, steps_per_epoch: int
    ) -> None:
        self._title, self._network, self._trained = title, network, trained
        self._steps = steps_per_epoch
        self._variables = trained.trainable_variables
        self._losses = [
            metric.name for metric in built_metrics(network, trained) if "loss" in metric.name
        ]
        # Gradients and losses are summed over the replicas first, so that all of them see the same.
        local: dict[str, Any] = {
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        self._found = tf.Variable(False, name="diverged", **local)
        self._step = tf.Variable(-1, dtype=tf.int64, name="bad_step", **local)
        self._values = tf.Variable(tf.zeros([len(self._losses)]), name="bad_losses", **local)
        self._bad = tf.Variable(
            tf.zeros([2, len(self._variables)], tf.bool), name="bad_tensors", **local
        )
        self._watch_gradients()
        self._watch_losses()

    def require_none(self) -> None:
        """Raises if a step has diverged; waits for the steps that were begun.

        Raises:
            ValueError: It names the losses and the gradients and weights that are not finite.
        """
        if not self._found.numpy():
            return
        epoch, step = divmod(int(self._step.numpy()), self._steps)
        values = zip(self._losses, self._values.numpy(), strict=True)
        received = ", ".join(f"{name} {value}" for name, value in values if not _is_finite(value))
        gradients, weights = (self._named(row) for row in self._bad.numpy())
        raise ValueError(
            f"The loss must stay finite. Received: {received or 'gradients that are not finite'} in step "
            f"{step + 1} of epoch {epoch + 1} of the {self._title}. Not finite: gradients of "
            f"{gradients}; weights of {weights}. The last good checkpoint is kept. Lower its learning "
            "rate, or let it rise over some --warmup_epochs."
        )

    def require_finite_weights(self, where: str) -> None:
        """Raises unless all weights are finite, also those that no gradient reaches.

        A step may be the first whose result is not finite while its loss and gradients were: what it left
        must not become the last good checkpoint, or a finished stage.

        Args:
            where: The position, for the message.

        Raises:
            ValueError: It names the weights.
        """
        floats = [weight for weight in self._trained.weights if weight.dtype.is_floating]
        bad = [_name(weight) for weight in floats if not _is_finite(weight)]
        if bad:
            raise ValueError(
                f"The weights must stay finite. Received: {_shown(bad)} after {where} of the "
                f"{self._title}. The last good checkpoint is kept. Lower its learning rate, or let it rise "
                "over some --warmup_epochs."
            )

    def _watch_gradients(self) -> None:
        optimizer = self._network.optimizer
        scaled = isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
        inner = optimizer.inner_optimizer if scaled else optimizer
        apply = optimizer.apply_gradients

        def apply_gradients(
            pairs: Iterable[tuple[Any, Any]],
            skip_gradients_aggregation: bool = False,
            **options: Any,
        ) -> Any:
            pairs = list(pairs)
            if not skip_gradients_aggregation:
                pairs = list(inner.aggregate_gradients(pairs))
            self._note_gradients(pairs, optimizer.loss_scale > 1 if scaled else tf.constant(False))
            return apply(pairs, skip_gradients_aggregation=True, **options)

        optimizer.apply_gradients = apply_gradients

    def _note_gradients(self, pairs: list[tuple[Any, Any]], skipped: tf.Tensor) -> None:
        """Notes gradients that are not finite, before they are applied; in a graph."""
        by_variable = {variable.ref(): gradient for gradient, variable in pairs}
        gradients = [by_variable.get(variable.ref()) for variable in self._variables]
        bad = tf.stack([tf.constant(False) if g is None else ~_is_finite(g) for g in gradients])

        def note() -> tf.Tensor:
            self._bad.assign(tf.stack([bad, self._bad_weights()]))
            self._step.assign(self._network.optimizer.iterations)
            # What is skipped is told only if a loss of the same step is bad too.
            self._found.assign(~skipped)
            return tf.constant(True)

        tf.cond(tf.reduce_any(bad) & ~self._found, note, lambda: tf.constant(False))

    def _watch_losses(self) -> None:
        make_step = self._network.train_step

        def train_step(data: Any) -> dict[str, tf.Tensor]:
            step = tf.identity(self._network.optimizer.iterations)
            logs = make_step(data)
            self._note_losses(step, [tf.cast(logs[name], tf.float32) for name in self._losses])
            return logs

        self._network.train_step = train_step

    def _note_losses(self, step: tf.Tensor, losses: list[tf.Tensor]) -> None:
        """Notes losses that are not finite, after the step; in a graph."""
        with_gradients = tf.equal(self._step, step)
        counts = ~_is_finite(losses) & (~self._found | with_gradients)

        def note() -> tf.Tensor:
            alone = tf.stack([tf.zeros_like(self._bad[0]), self._bad_weights()])
            self._bad.assign(tf.where(with_gradients, self._bad, alone))
            self._values.assign(losses)
            self._step.assign(step)
            self._found.assign(True)
            return tf.constant(True)

        tf.cond(counts, note, lambda: tf.constant(False))

    def _bad_weights(self) -> tf.Tensor:
        return tf.stack([~_is_finite(variable) for variable in self._variables])

    def _named(self, flags: Iterable[bool]) -> str:
        pairs = zip(self._variables, flags, strict=True)
        return _shown([_name(variable) for variable, flag in pairs if flag])


def _name(variable: tf.Variable) -> str:
    return variable.name.split(":")[0]


def _shown(names: list[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return shown or "none"


def _is_finite(value: Any) -> tf.Tensor:
    return tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(value)))
