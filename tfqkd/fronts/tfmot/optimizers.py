"""The optimizer of a training: SGD with Nesterov momentum, a learning-rate schedule and weight decay."""

from collections.abc import Sequence
from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.schedules import first_behind, values
from tfqkd.fronts.settings import Fitting
from tfqkd.fronts.tfmot.model import quantizer_variables


@keras.utils.register_keras_serializable(package="tfqkd")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from 0 in front of another schedule, which it delays by nothing.

    At step s < `steps` the rate is `schedule(s) · (s + 1)/steps`; from then on it is `schedule(s)`.

    Args:
        schedule: The schedule to rise to: a Keras one, or a fixed rate.
        steps: Length of the rise.
    """

    def __init__(
        self, schedule: keras.optimizers.schedules.LearningRateSchedule | float, steps: int
    ) -> None:
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the learning rate at `step`, float32."""
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        return rate * tf.minimum((tf.cast(step, tf.float32) + 1) / max(self.steps, 1), 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"schedule": self.schedule, "steps": self.steps}


@keras.utils.register_keras_serializable(package="tfqkd")
class ByStep(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate for each step; the last one stays.

    Args:
        rates: At least one.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        self.rates = list(rates)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the learning rate at `step`, float32."""
        last = len(self.rates) - 1
        return tf.gather(
            tf.constant(self.rates, tf.float32), tf.minimum(tf.cast(step, tf.int32), last)
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"rates": self.rates}


def make_optimizer(
    fitting: Fitting, model: keras.Model, beside: Sequence[keras.Model] = ()
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a training.

    Weight decay is decoupled (arXiv 1711.05101) and acts on kernels only: on variables of two or more axes,
    so on no bias or batch norm, and on no scale that a quantizer learns.

    Args:
        fitting: Gives momentum, decay and learning rate. Keras puts the moving average, if there is one, in
            the place of the weights at the end of `fit`.
        model: Its trainable variables are those that will be optimised.
        beside: So are those of the networks that train along.
    """
    total = fitting.epochs * fitting.steps
    rate: Any = fitting.learning_rate
    if fitting.rate is not None:
        rate = ByStep([rate * factor for factor in values(fitting.rate, total)])
    elif fitting.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, max(total, 1))
    elif fitting.learning_rate_schedule == "step" and fitting.milestones:
        factors = range(len(fitting.milestones) + 1)
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            # Keras changes the rate after the boundary; the milestone's own step has the new one.
            [first_behind(share, total) - 1 for share in fitting.milestones],
            [rate * fitting.learning_rate_factor**passed for passed in factors],
        )
    if fitting.warmup_epochs:
        rate = WarmUp(rate, round(fitting.warmup_epochs * fitting.steps))
    optimizer = keras.optimizers.SGD(
        rate,
        momentum=fitting.momentum,
        nesterov=fitting.momentum > 0,
        weight_decay=fitting.weight_decay or None,
        use_ema=fitting.ema > 0,
        ema_momentum=fitting.ema,
    )
    if fitting.weight_decay:
        trained = [variable for each in (model, *beside) for variable in each.trainable_variables]
        flat = [variable for variable in trained if len(variable.shape) < 2]
        optimizer.exclude_from_weight_decay(var_list=[*flat, *quantizer_variables(model)])
    return optimizer
