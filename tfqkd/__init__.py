"""tfqkd: trains low-bit Keras networks with a teacher.

`import tfqkd` is lazy: TensorFlow is imported when a name that needs it is first used.
"""

import importlib
from typing import Any

from tfqkd.version import __version__

_MODULES = (
    "compat",
    "data",
    "export",
    "models",
    "reporting",
    "runtime",
    "tfmot",
    "training",
)
_NAMES = {
    "CoefficientScheduler": "tfqkd.core.schedulers",
    "DeployScheme": "tfqkd.core.schemes",
    "Distiller": "tfqkd.fronts.choice",
    "Ensemble": "tfqkd.core.teachers",
    "LOGITS_IN_BATCH": "tfqkd.core.teachers",
    "GradualSoftLossReducing": "tfqkd.core.schedulers",
    "Recipe": "tfqkd.recipe.recipe",
    "Scheme": "tfqkd.core.schemes",
    "TemperatureScheduler": "tfqkd.core.schedulers",
    "TeacherCache": "tfqkd.training.teacher_cache",
    "TernaryScheme": "tfqkd.core.schemes",
    "UniformScheme": "tfqkd.core.schemes",
    "calibrate_activations": "tfqkd.fronts.tfmot.calibration",
    "keras3": "tfqkd.fronts",
    "losses": "tfqkd.core",
    "quantization_summary": "tfqkd.fronts.choice",
    "quantize_model": "tfqkd.fronts.choice",
    "quantized_activations": "tfqkd.fronts.tfmot.model",
    "reestimate_batch_norm": "tfqkd.fronts.tfmot.batch_norm",
    "run": "tfqkd.training.run",
    "save_to_folder": "tfqkd.reporting.hub",
    "schedules": "tfqkd.core",
    "sensitivity": "tfqkd.fronts.sensitivity",
    "strip_quantization": "tfqkd.fronts.choice",
}

__all__ = ["__version__", *sorted((*_MODULES, *_NAMES))]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"tfqkd.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name, None)
        return value or importlib.import_module(f"{_NAMES[name]}.{name}")
    raise AttributeError(f"module 'tfqkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
