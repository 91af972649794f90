"""The keras3 front: Keras 3 models on TensorFlow, JAX and PyTorch (public: `tfqkd.keras3`).

It imports Keras 3 and neither TensorFlow, tf_keras nor tfmot. Import it before a model is loaded: it tells
Keras the classes that a file may name.
"""

# They tell Keras their classes.
from tfqkd.fronts.keras3 import fused_batch_norm, layers, wrapper  # noqa: F401
from tfqkd.lazy import lazy_names

_NAMES = {
    "Distiller": "tfqkd.fronts.keras3.distiller",
    "Ensemble": "tfqkd.core.teachers",
    "GradualQuantization": "tfqkd.fronts.keras3.gradual",
    "QuantizedKernel": "tfqkd.fronts.keras3.model",
    "QuantizedLayer": "tfqkd.fronts.keras3.wrapper",
    "calibrate_activations": "tfqkd.fronts.keras3.calibration",
    "quantization_summary": "tfqkd.fronts.keras3.summary",
    "quantize_model": "tfqkd.fronts.keras3.model",
    "quantized_activations": "tfqkd.fronts.keras3.model",
    "quantized_kernels": "tfqkd.fronts.keras3.model",
    "reestimate_batch_norm": "tfqkd.fronts.keras3.batch_norm",
    "sensitivity": "tfqkd.fronts.sensitivity",
    "strip_quantization": "tfqkd.fronts.keras3.stripping",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = lazy_names("tfqkd.keras3", _NAMES)
