"""The Keras 3 callback that moves gradual quantizers on."""

from typing import Any

import keras
import numpy as np

from tfqkd.core.gradual import GradualQuantizer
from tfqkd.fronts.gradual import GradualSteps
from tfqkd.fronts.keras3.model import QuantizedKernel
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.replicas import read


class GradualQuantization(GradualSteps, keras.callbacks.Callback):
    """Moves gradual quantizers on, as `tfqkd.fronts.gradual.GradualSteps` says."""

    def _array(self, variable: Any) -> np.ndarray:
        return read(variable)

    def _restored(self, kernel: QuantizedKernel, gradual: GradualQuantizer) -> Any:
        latent, *values = map(
            keras.ops.convert_to_tensor, map(read, (kernel.latent, *kernel.state.values()))
        )
        return gradual.restored(latent, dict(zip(kernel.state, values, strict=True)), OPS)
