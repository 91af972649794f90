"""Methods: what may be added to the training of a stage, one file each.

Listing them imports none of them: `NAMES` says where each is.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfqkd.methods.method import Method

NAMES = {
    "ema": ("tfqkd.methods.ema", "Ema"),
    "batch_norm": ("tfqkd.methods.batch_norm", "BatchNorm"),
    "gradual": ("tfqkd.methods.gradual", "Gradual"),
    "gradient_rounding": ("tfqkd.methods.gradient_rounding", "GradientRounding"),
    "sqwa": ("tfqkd.methods.sqwa", "Sqwa"),
    "mutual": ("tfqkd.methods.mutual", "Mutual"),
    "attention": ("tfqkd.methods.attention", "Attention"),
    "hints": ("tfqkd.methods.hints", "Hints"),
    "past_self": ("tfqkd.methods.past_self", "PastSelf"),
    "rkd": ("tfqkd.methods.rkd", "Rkd"),
    "fsp": ("tfqkd.methods.fsp", "Fsp"),
    "speq": ("tfqkd.methods.speq", "Speq"),
    "pruning": ("tfqkd.methods.pruning", "Pruning"),
    "clustering": ("tfqkd.methods.clustering", "Clustering"),
    "latent": ("tfqkd.methods.latent", "Latent"),
    "interactive": ("tfqkd.methods.interactive", "Interactive"),
    "filters": ("tfqkd.methods.filters", "Filters"),
}
"""The module and the class of each method, by the name that settings call it by."""


def find(name: str) -> "type[Method]":
    """Returns the class of a method.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"A method must be one of {', '.join(NAMES)}. Received: {name!r}.")
    module, kind = NAMES[name]
    return getattr(importlib.import_module(module), kind)
