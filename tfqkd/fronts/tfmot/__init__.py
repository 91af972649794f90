"""The tfmot front: tf_keras models, quantized through tensorflow-model-optimization.

The package is lazy: TensorFlow is imported when a name is first used.
"""

from tfqkd.lazy import lazy_names

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
    "strip_quantization": "tfqkd.fronts.tfmot.stripping",
    "training_batches": "tfqkd.fronts.tfmot.batches",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = lazy_names("tfqkd.tfmot", _NAMES)
