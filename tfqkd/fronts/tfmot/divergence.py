"""A stage that diverges ends before its weights are kept, and says where it did."""

from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.metrics import built_metrics

_ADVICE = (
    "The last good checkpoint is kept. Lower its learning rate, "
    "or let it rise over some --warmup_epochs."
)
_SHOWN = 5


class Divergence:
    """Notes the first step of a training whose loss is not finite, in variables.

    Keras' own `TerminateOnNaN` waits for the loss at every step, and ends a training as if all were well:
    the next stage would learn from the ruin. Here the step notes its number and its losses inside the graph,
    also where one call makes many steps; nothing waits until `require_none` asks. Gradients that loss scaling
    skips do not count, until the scale has fallen to 1 and there is nothing left to scale down.

    Args:
        title: What is trained, for the message.
        network: What trains, compiled; its steps are watched from now on.
        trained: The network whose weights it trains.
        steps_per_epoch: Of the training.
    """

    def __init__(
        self, title: str, network: keras.Model, trained: keras.Model, steps_per_epoch: int
    ) -> None:
        self._title, self._network, self._trained = title, network, trained
        self._steps = steps_per_epoch
        self._losses = [
            metric.name for metric in built_metrics(network, trained) if "loss" in metric.name
        ]
        # Losses are summed over the replicas first, so that all of them see the same.
        local: dict[str, Any] = {
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        self._step = tf.Variable(-1, dtype=tf.int64, name="bad_step", **local)
        self._values = tf.Variable(tf.zeros([len(self._losses)]), name="bad_losses", **local)
        self._watch()

    def require_none(self) -> None:
        """Raises if a step has diverged; waits for the steps that were started.

        Raises:
            ValueError: It names the step, and the losses that are not finite.
        """
        if self._step.numpy() < 0:
            return
        epoch, step = divmod(int(self._step.numpy()), self._steps)
        values = zip(self._losses, self._values.numpy(), strict=True)
        received = ", ".join(f"{name} {value}" for name, value in values if not _is_finite(value))
        raise ValueError(
            f"The loss must stay finite. Received: {received or 'gradients that are not finite'} in step "
            f"{step + 1} of epoch {epoch + 1} of the {self._title}. {_ADVICE}"
        )

    def require_finite_weights(self, where: str) -> None:
        """Raises unless all weights are finite, also those that no gradient reaches.

        A step may be the first whose result is not finite while its loss was: what it left must not become
        the last good checkpoint, or a finished stage.

        Args:
            where: The position, for the message.

        Raises:
            ValueError: It names the weights.
        """
        floats = [weight for weight in self._trained.weights if weight.dtype.is_floating]
        bad = [weight.name.split(":")[0] for weight in floats if not _is_finite(weight)]
        if bad:
            more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
            raise ValueError(
                f"The weights must stay finite. Received: {', '.join(bad[:_SHOWN])}{more} after {where} of "
                f"the {self._title}. {_ADVICE}"
            )

    def _watch(self) -> None:
        make_step, optimizer = self._network.train_step, self._network.optimizer
        scaled = isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
        scaled = scaled and optimizer.dynamic

        def train_step(data: Any) -> dict[str, tf.Tensor]:
            step = tf.identity(optimizer.iterations)
            scale: Any = tf.identity(optimizer.loss_scale) if scaled else None
            logs = make_step(data)
            losses = tf.stack([tf.cast(logs[name], tf.float32) for name in self._losses])
            bad = ~_is_finite(losses)
            if scaled:
                # The count of good steps starts over where gradients are skipped.
                was_skipped = (optimizer.dynamic_counter == 0) & (optimizer.loss_scale <= scale)
                bad |= (scale <= 1) & was_skipped
            first = bad & (self._step < 0)
            self._values.assign(tf.where(first, losses, self._values))
            self._step.assign(tf.where(first, step, self._step))
            return logs

        self._network.train_step = train_step


def _is_finite(value: Any) -> tf.Tensor:
    return tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(value)))
