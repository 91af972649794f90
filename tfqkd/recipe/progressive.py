"""Settings of progressive distillation: stages before the quantized one, from general to special."""

import dataclasses

from tfqkd.recipe.setting import Rule, at_least, setting

_EPOCHS = Rule(
    "three numbers of epochs, 0 or more, or empty",
    lambda epochs: not epochs or (len(epochs) == 3 and min(epochs) >= 0),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progressive:
    """Stages that distil layers before the quantized stage, none by default (after ERNIE-Tiny's abstract)."""

    epochs: tuple[int, ...] = setting(
        (),
        "Epochs of general, general-enhanced and task-adaptive distillation, such as 20,20,20, instead of "
        "the float student's training; a stage of 0 is left out, and without numbers there are none. The "
        "quantized stage is then the task-specific one (after the abstract of arXiv 2106.02241).",
        rule=_EPOCHS,
    )
    data: str = setting(
        "",
        "General data set, as for --dataset, of the first two stages; only its training images are read, no "
        "label.",
    )
    teacher: str = setting(
        "",
        "Path of the saved model, trained on general data, that teaches the first stage; --teacher, trained "
        "on the task, teaches the others.",
    )
    weight: float = setting(
        1.0, "Weight of the latent loss in the three stages, which have no other.", rule=at_least(0)
    )
    last_weight: float = setting(
        1.0,
        "Weight of the latent loss in the quantized stage, beside its other losses; it falls to 0 over the "
        "epochs. 0 leaves it out.",
        rule=at_least(0),
    )
