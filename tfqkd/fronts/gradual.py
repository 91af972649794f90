"""What moves gradual quantizers on during `fit`; each front makes it a callback of its Keras."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfqkd.core.gradual import GradualQuantizer
from tfqkd.fronts.choice import of_front


class GradualSteps:
    """Moves the gradual quantizers of a model, or of a distiller's student, on at the start of epochs.

    The widths of a quantizer share the epochs evenly, and so do the shares with the 1 that ends them. The
    current stage is in variables: a training that is resumed continues from it.

    Example:
        ```python
        scheme = Scheme(GradualQuantizer(UniformQuantizer(2), wider=(8, 4)))
        quantized = tfqkd.quantize_model(model, scheme)
        quantized.fit(train, epochs=12, callbacks=[GradualQuantization()])
        ```

    Args:
        shares: Shares of the weights before all are quantized, rising within (0, 1); for quantizers with
            `by_share`.

    Raises:
        ValueError: If the shares do not rise within (0, 1), or, at the start of `fit`, if no quantizer is
            gradual, or there are fewer epochs than widths or shares: the last would never be reached.
    """

    model: Any
    params: Any

    def __init__(self, shares: Sequence[float] = ()) -> None:
        super().__init__()
        if list(shares) != sorted(set(shares)) or not all(0 < share < 1 for share in shares):
            raise ValueError(
                f"`shares` must rise within (0, 1). Received: shares={tuple(shares)}. "
                "For example (0.5, 0.75, 0.875)."
            )
        self.shares = (*shares, 1.0)
        self._kernels: list[tuple[Any, GradualQuantizer]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the gradual quantizers, and requires epochs enough for them."""
        model = getattr(self.model, "student", self.model)
        self._kernels = [
            (kernel, kernel.quantizer)
            for kernel in of_front(model, "quantized_kernels")(model)
            if isinstance(kernel.quantizer, GradualQuantizer)
        ]
        if not self._kernels:
            raise ValueError(
                "GradualQuantization needs a model with gradual quantizers. "
                f"Received: {model.name}. Quantize it with Scheme(GradualQuantizer(...))."
            )
        widths = max(len(gradual.stages) for _, gradual in self._kernels)
        if self.params["epochs"] < max(widths, len(self.shares)):
            raise ValueError(
                "`epochs` must be at least one for each width, and for each share with the 1 that ends them. "
                f"Received: epochs={self.params['epochs']} for {widths} widths and shares={self.shares}. "
                "Train longer, or take fewer."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets width and share of the epoch."""
        epochs = self.params["epochs"]
        # A checkpoint of another callback's may hold them as the last step of an epoch left them.
        self._put_back()
        for kernel, gradual in self._kernels:
            latent = self._array(kernel.latent)
            state = {key: self._array(variable) for key, variable in kernel.state.items()}
            index = epoch * len(gradual.stages) // epochs
            _assign(kernel, gradual.at_width(index, latent, state))
            if gradual.by_share:
                share = self.shares[epoch * len(self.shares) // epochs]
                _assign(kernel, gradual.at_share(share, latent, state))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts back the weights that rest, which the last step has moved: a regulariser reads them."""
        self._put_back()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts them back also where nothing was validated."""
        self._put_back()

    def _put_back(self) -> None:
        for kernel, gradual in self._kernels:
            if gradual.rests:
                kernel.latent.assign(self._restored(kernel, gradual))

    def _array(self, variable: Any) -> np.ndarray:
        raise NotImplementedError

    def _restored(self, kernel: Any, gradual: GradualQuantizer) -> Any:
        """The latent weights with those that rest where they were."""
        raise NotImplementedError


def _assign(kernel: Any, changed: dict[str, np.ndarray]) -> None:
    for key, value in changed.items():
        kernel.state[key].assign(value)
