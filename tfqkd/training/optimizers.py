"""The optimizer of a recipe: SGD with Nesterov momentum, a learning-rate schedule and weight decay."""

from typing import Any

from tfqkd.compat import keras, tf
from tfqkd.core.schedules import first_behind
from tfqkd.fronts.tfmot.model import quantizer_variables
from tfqkd.training.recipe import Recipe


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


def make_optimizer(
    recipe: Recipe,
    learning_rate: float,
    epochs: int,
    steps_per_epoch: int,
    model: keras.Model,
    ema: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a stage.

    Weight decay is decoupled (arXiv 1711.05101) and acts on kernels only: on variables of two or more axes,
    so on no bias or batch norm, and on no scale that a quantizer learns.

    Args:
        recipe: Gives momentum, decay and the shape of the learning-rate schedule.
        learning_rate: Of the stage, before the schedule.
        epochs: Of the stage.
        steps_per_epoch: Of the stage.
        model: Its trainable variables are those that will be optimised.
        ema: Momentum of their exponential moving average, which Keras puts in their place at the end of
            `fit`; 0 for none.
    """
    total = epochs * steps_per_epoch
    rate: Any = learning_rate
    if recipe.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, max(total, 1))
    elif recipe.learning_rate_schedule == "step" and recipe.milestones:
        factors = range(len(recipe.milestones) + 1)
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            # Keras changes the rate after the boundary; the milestone's own step has the new one.
            [first_behind(share, total) - 1 for share in recipe.milestones],
            [learning_rate * recipe.learning_rate_factor**passed for passed in factors],
        )
    if recipe.warmup_epochs:
        rate = WarmUp(rate, round(recipe.warmup_epochs * steps_per_epoch))
    optimizer = keras.optimizers.SGD(
        rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay or None,
        use_ema=ema > 0,
        ema_momentum=ema,
    )
    if recipe.weight_decay:
        flat = [variable for variable in model.trainable_variables if len(variable.shape) < 2]
        optimizer.exclude_from_weight_decay(var_list=[*flat, *quantizer_variables(model)])
    return optimizer
