"""The Keras 3 callback that moves gradual quantizers on."""

from typing import Any

import keras
import numpy as np

from tfqkd.core.gradual import GradualQuantizer
from tfqkd.fronts.gradual import GradualSteps
from tfqkd.fronts.keras3.model import QuantizedKernel
from tfqkd.fronts.keras3.ops import OPS


class GradualQuantization(GradualSteps, keras.callbacks.Callback):
    """Moves gradual quantizers on, as `tfqkd.fronts.gradual.GradualSteps` says."""

    def _array(self, variable: Any) -> np.ndarray:
        return keras.ops.convert_to_numpy(variable.value)

    def _restored(self, kernel: QuantizedKernel, gradual: GradualQuantizer) -> Any:
        state = {key: variable.value for key, variable in kernel.state.items()}
        return gradual.restored(keras.ops.convert_to_tensor(kernel.latent.value), state, OPS)
