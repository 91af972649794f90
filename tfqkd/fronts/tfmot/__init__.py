"""The tfmot front: tf_keras models, quantized through tensorflow-model-optimization.

The package is lazy: TensorFlow is imported when a name is first used.
"""

import importlib
from typing import Any

_NAMES = {
    "Distiller": "tfqkd.fronts.tfmot.distiller",
    "Ensemble": "tfqkd.core.teachers",
    "GradualQuantization": "tfqkd.fronts.tfmot.gradual",
    "LayerQuantizeConfig": "tfqkd.fronts.tfmot.configs",
    "augment": "tfqkd.fronts.tfmot.augmenting",
    "calibrate_activations": "tfqkd.fronts.tfmot.calibration",
    "draw_views": "tfqkd.fronts.tfmot.augmenting",
    "evaluation_batches": "tfqkd.fronts.tfmot.batches",
    "quantization_summary": "tfqkd.fronts.tfmot.summary",
    "quantize_model": "tfqkd.fronts.tfmot.model",
    "quantized_activations": "tfqkd.fronts.tfmot.model",
    "quantized_kernels": "tfqkd.fronts.tfmot.model",
    "reestimate_batch_norm": "tfqkd.fronts.tfmot.batch_norm",
    "sensitivity": "tfqkd.fronts.sensitivity",
    "strip_quantization": "tfqkd.fronts.tfmot.model",
    "training_batches": "tfqkd.fronts.tfmot.batches",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfqkd.tfmot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
