"""Settings of a training: what all stages share, and what each of them may say otherwise."""

import dataclasses
from typing import Any, Literal

from tfqkd.recipe.setting import BELOW_ONE, Rule, above, at_least, overriding, setting

SCHEDULES = ("step", "cosine", "constant")
BATCH_NORMS = ("augmented", "plain", "moving")
_MILESTONES = Rule(
    "rising shares of the epochs, each above 0 and below 1",
    lambda shares: list(shares) == sorted(set(shares)) and all(0 < each < 1 for each in shares),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained."""

    epochs: int = setting(200, "Epochs of a stage.", rule=at_least(0))
    learning_rate: float = setting(0.1, "First learning rate of a stage.", rule=above(0))
    schedule: str = setting(
        "step",
        "How the learning rate falls: at the milestones, on a cosine to 0, or not at all.",
        choices=SCHEDULES,
    )
    milestones: tuple[float, ...] = setting(
        (0.5, 0.75),
        "Where the learning rate steps down, as shares of a stage's epochs, separated by commas.",
        rule=_MILESTONES,
    )
    factor: float = setting(
        0.1, "What each milestone multiplies the learning rate by.", rule=above(0)
    )
    warmup_epochs: float = setting(
        0.0, "Epochs over which the learning rate first rises from 0.", rule=at_least(0)
    )
    batch_size: int = setting(
        128, "Images in a training step, over all devices together.", rule=at_least(1)
    )
    momentum: float = setting(0.9, "Nesterov momentum of SGD.", rule=BELOW_ONE)
    weight_decay: float = setting(
        1e-3,
        "Decoupled weight decay of kernels: each step subtracts this times the learning rate times the "
        "weight. Biases and batch norm have none. 1e-4 of L2 loss with momentum 0.9 is about 1e-3 here.",
        rule=at_least(0),
    )
    label_smoothing: float = setting(
        0.0, "Label smoothing of the hard loss, 0 to below 1.", rule=BELOW_ONE
    )
    class_weights: str = setting(
        "none",
        "What an example weighs in the losses: all the same, or, balanced, so much that all classes weigh "
        "the same: the mean number of examples of a class over that of its own.",
        choices=("none", "balanced"),
    )
    patience: int = setting(
        0,
        "End a stage when its accuracy on the validation images has not risen for this many epochs; 0 for "
        "never. It keeps the weights of its last epoch.",
        rule=at_least(0),
    )
    batch_norm: Literal["augmented", "plain", "moving"] = setting(
        "augmented",
        "Statistics of batch norm in the model that a stage keeps: measured again on augmented training "
        "images, or on plain ones; or the moving averages of the training.",
        choices=BATCH_NORMS,
    )


TeacherTraining: Any = overriding(Training, "TeacherTraining", __name__)
StudentTraining: Any = overriding(Training, "StudentTraining", __name__)
QuantizedTraining: Any = overriding(
    Training, "QuantizedTraining", __name__, epochs=100, learning_rate=0.01
)
