"""What a front is asked for, in plain values."""

import dataclasses
from typing import Any, Literal

from tfqkd.core.combining import LOGITS
from tfqkd.core.policy import LayerPolicy
from tfqkd.core.schedules import Schedule
from tfqkd.core.schemes import Scheme
from tfqkd.core.weights import Weight
from tfqkd.data.augmentation import Augmentation

METHOD_NEEDS = (
    *("average", "gradual", "rounding", "rate", "variables", "terms", "peers", "layers"),
    *("balanced", "raised", "filters", "between"),
)
"""What a method may need of a front: an average of the weights that the optimizer keeps; gradual quantizers;
rounded gradients; a learning rate by a schedule of its own; variables read and assigned between epochs; terms
of the loss; networks that train along; the layers of student and teacher; weights that are found by
gradients; a second pass of the student at more bits; whole filters taken out; a part of the teacher."""


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a front can do of what a recipe may ask; the values are those of the settings.

    Attributes:
        strategies: Of `strategy`.
        precisions: Of `mixed_precision`.
        deterministic: Whether every operation can give the same bits each time.
        jit_compile: Whether XLA can compile a step.
        methods: Of `METHOD_NEEDS`: what methods may ask for.
        profile: Whether it can write a profile of some steps.
        steps_per_execution: Whether one call can make several steps.
    """

    strategies: frozenset[str]
    precisions: frozenset[str]
    deterministic: bool
    jit_compile: bool
    methods: frozenset[str] = frozenset()
    profile: bool = True
    steps_per_execution: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What the result of a training depends on; see the settings of the same names.

    What has no say is at the value that says nothing: no milestones where the learning rate has no steps.

    Attributes:
        epochs: Of the whole training.
        batch_size: Images in a step, over all devices.
        seed: Of weights, order and views, 0..2**32-1.
        augmentation: How images are varied.
        fixed_views: How many views of each image are repeated; 0 for new ones in every epoch.
        learning_rate: Before its schedule.
        learning_rate_schedule: "step", "cosine" or "constant".
        learning_rate_factor: What each milestone multiplies it by.
        milestones: Shares of the epochs.
        warmup_epochs: Over which it rises from 0.
        momentum: Nesterov's.
        weight_decay: Decoupled, of kernels.
        label_smoothing: Of the hard loss.
        synchronized_batch_norm: Whether batch norm takes its statistics over all devices.
        class_weights: What an example of a class weighs in the losses: "none", all the same, or "balanced".
        patience: After how many epochs without a better validation accuracy the training ends; 0 for never.
    """

    epochs: int
    batch_size: int
    seed: int
    augmentation: Augmentation
    fixed_views: int
    learning_rate: float
    learning_rate_schedule: str
    learning_rate_factor: float
    milestones: tuple[float, ...]
    warmup_epochs: float
    momentum: float
    weight_decay: float
    label_smoothing: float
    synchronized_batch_norm: bool
    class_weights: str = "none"
    patience: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting(Training):
    """How a network is trained, here and now.

    Attributes:
        title: What is trained, for messages.
        steps: Of an epoch.
        jit_compile: Whether XLA compiles the step.
        steps_per_execution: Steps in one call.
        ema: Momentum of the moving average that replaces the weights at the end; 0 for none.
        scan: Whether an epoch is one compiled call: "auto", "on" or "off".
        rate: A method's own schedule by step, which multiplies `learning_rate` in place of other settings.
    """

    title: str
    steps: int
    jit_compile: bool
    steps_per_execution: int
    scan: str = "auto"
    ema: float = 0.0
    rate: Schedule | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a network is quantized.

    Attributes:
        scheme: Of layers.
        layers: Those that differ, as `tfqkd.quantize_model` takes them.
        gradual_shares: Shares of the weights that are quantized before all are.
    """

    scheme: Scheme
    layers: LayerPolicy
    gradual_shares: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a network is taught; see the settings of the same names. None is what has no say.

    Attributes:
        coefficient: λ, by the progress of the training.
        coefficient_on: Whether it changes by "epoch" or by "step".
        soft_loss: "none" in the control, which keeps (1-λ)·hard.
        temperature: T.
        soft_weight: Of the soft loss besides λ.
        dkd_beta: Of the soft loss dkd.
        scale_by_temperature_squared: Whether the soft loss is multiplied by T².
        combine: How several teachers are combined (`core.combining`); None for the mean of their logits.
    """

    coefficient: Schedule
    coefficient_on: Literal["epoch", "step"] | None
    soft_loss: str
    temperature: float | None = None
    soft_weight: Weight | None = None
    dkd_beta: float | None = None
    scale_by_temperature_squared: bool | None = None
    combine: str | None = None

    def soft(self) -> dict[str, Any]:
        """Returns what the soft loss is made of, by the names of a `Distiller`'s arguments."""
        chosen = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[2:-1]}
        return {name: value for name, value in chosen.items() if value is not None}

    def combination(self) -> tuple[str, float]:
        """Returns how several teachers are combined, and at which temperature."""
        return self.combine or LOGITS, self.temperature or 1.0
