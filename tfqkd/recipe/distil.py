"""Settings of distillation: the soft loss, and its coefficient."""

import dataclasses
from typing import Literal

from tfqkd.recipe.setting import SHARE, WEIGHT, above, at_least, setting

SCHEDULES = ("constant", "gradual", "cosine", "exponential", "step")
SOFT_LOSSES = ("cross_entropy", "kl", "standardized", "dkd", "dist", "cosine", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distil:
    """How a teacher teaches."""

    temperature: float = setting(
        2.0, "T, the temperature: divides the logits of the soft loss.", rule=above(0)
    )
    coefficient: float = setting(
        1.0,
        "λ, weight of the soft loss, 0 to 1; its first value when it is annealed. The hard loss weighs 1-λ.",
        rule=SHARE,
    )
    schedule: str = setting(
        "gradual",
        "How λ changes: constant, gradual (the paper's: on a straight line), cosine, exponential, or step "
        "(at the learning rate's milestones, by its factor, also inside an epoch).",
        choices=SCHEDULES,
    )
    coefficient_end: float = setting(
        0.0, "λ at the end of a gradual, cosine or exponential schedule.", rule=SHARE
    )
    schedule_on: Literal["epoch", "step"] = setting(
        "epoch",
        "Change λ once an epoch or at every step; a step schedule falls at its milestones in either case.",
        choices=("epoch", "step"),
    )
    soft_loss: str = setting(
        "cross_entropy",
        "Soft loss: cross_entropy; kl, of the same gradient; standardized, the kl of logits without their "
        "mean and deviation (arXiv 2403.01427); dkd, decoupled (arXiv 2203.08679); dist, correlations within "
        "examples and within classes (arXiv 2205.10536); cosine, the angle between the probabilities (after "
        "the abstract of arXiv 2009.14502); or none: the control that keeps only (1-λ)·hard.",
        choices=SOFT_LOSSES,
    )
    soft_weight: float | str = setting(
        1.0,
        "Multiplies the soft loss besides λ; about 10 for standardized, whose gradient is small. balanced:R "
        "finds it once, at the first step: the soft loss's gradient is then R times the hard loss's.",
        rule=WEIGHT,
    )
    dkd_beta: float = setting(
        8.0, "β of dkd: what the classes beside the label weigh.", rule=at_least(0)
    )
    scale_by_temperature_squared: bool = setting(
        True,
        "Multiply the soft loss by T², so that λ weighs the same at every temperature.",
    )
    float_student: bool = setting(
        False,
        "Teach the float student too, with the same settings, so that quantization starts from a better one.",
    )
