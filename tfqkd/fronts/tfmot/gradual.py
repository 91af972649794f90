"""The tf_keras callback that moves gradual quantizers on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras, true_value
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.fronts.gradual import GradualSteps
from tfqkd.fronts.tfmot.model import QuantizedKernel
from tfqkd.fronts.tfmot.ops import OPS
from tfqkd.fronts.tfmot.quantizers import read


class GradualQuantization(GradualSteps, keras.callbacks.Callback):
    """Moves gradual quantizers on, as `tfqkd.fronts.gradual.GradualSteps` says."""

    def __init__(self, shares: Sequence[float] = ()) -> None:
        super().__init__(shares)
        # Metrics may stay on their device: no step needs them.
        self._supports_tf_logs = True

    def _array(self, variable: Any) -> np.ndarray:
        return variable.numpy()

    def _restored(self, kernel: QuantizedKernel, gradual: GradualQuantizer) -> Any:
        return gradual.restored(true_value(kernel.latent), read(kernel.state), OPS)
