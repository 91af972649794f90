"""Statistics of batch norm, measured again for the model that is kept."""

import dataclasses
from typing import ClassVar, Literal

from tfqkd.fronts.view import View
from tfqkd.methods.method import Method


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchNorm(Method):
    """Measures the statistics again on training images when the weights are at rest.

    The moving averages of a training belong to weights whose codes still change.

    Attributes:
        images: "augmented", as the training shows them, or "plain".
    """

    name: ClassVar[str] = "batch_norm"

    images: Literal["augmented", "plain"] = "augmented"

    def __post_init__(self) -> None:
        if self.images not in ("augmented", "plain"):
            raise ValueError(
                "`batch_norm.images` must be augmented or plain. "
                f"Received: batch_norm.images={self.images!r}."
            )

    def finish(self, view: View) -> None:
        """Measures them."""
        view.settle_batch_norm(augmented=self.images == "augmented")
