"""The new names of old settings."""

from collections.abc import Mapping
from typing import Any

_TRAINING = (
    "batch_size",
    "momentum",
    "weight_decay",
    "milestones",
    "warmup_epochs",
    "batch_norm",
    "label_smoothing",
    "learning_rate",
)
_GROUPS = {
    "data": ("validation_split", "train_examples", "image_size", "crop_padding", "flip"),
    "training": _TRAINING,
    "quantize": (
        "granularity",
        "step_update",
        "activation_bits",
        "activation_quantizer",
        "gradient_bits",
        "layer_bits",
    ),
    "distil": (
        "coefficient_end",
        "schedule_on",
        "soft_loss",
        "soft_weight",
        "dkd_beta",
        "scale_by_temperature_squared",
    ),
    "run": (
        "pretrain_seed",
        "mixed_precision",
        "strategy",
        "synchronized_batch_norm",
        "jit_compile",
        "steps_per_execution",
        "profile",
        "deterministic",
        "checkpoint_every",
        "checkpoints_kept",
    ),
}
RENAMED = {
    **{name: f"{group}.{name}" for group, names in _GROUPS.items() for name in names},
    "learning_rate_schedule": "training.schedule",
    "learning_rate_factor": "training.factor",
    "teacher_epochs": "teacher.training.epochs",
    "student_epochs": "student.training.epochs",
    "quantized_epochs": "quantized.training.epochs",
    "quantized_learning_rate": "quantized.training.learning_rate",
    "ema": "quantized.ema.momentum",
    "gradual_bits": "quantized.gradual.bits",
    "gradual_share": "quantized.gradual.share",
    "distil_float": "distil.float_student",
    "teacher_views": "teacher.views",
    "teacher_cache": "teacher.cache",
    "teacher_cache_limit_gb": "teacher.cache_limit_gb",
}
"""Settings that were renamed; the short names have not changed."""
_OF_METHODS = ("ema", "gradual_bits", "gradual_share")


def now(name: str) -> str:
    """Returns the new name of an old setting; "" for any other name."""
    return RENAMED.get(name, "")


def renewed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of an old recipe by the new names."""
    given = {name: value for name, value in values.items() if name not in _OF_METHODS or value}
    new = {RENAMED.get(name, name): value for name, value in given.items()}
    methods = [
        method for method in ("ema", "gradual") if any(f".{method}." in name for name in new)
    ]
    for name, kind in (("quantized.gradual.bits", int), ("quantized.gradual.share", float)):
        if name in new:
            new[name] = tuple(map(kind, new[name]))
    return {**new, "quantized.methods": methods} if methods else new
