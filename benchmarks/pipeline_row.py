"""One kind of training batches: `python -m benchmarks.pipeline_row KIND`."""

import sys
from collections.abc import Callable

import numpy as np

from benchmarks.contestant import serve
from benchmarks.ours import kept_logits
from tfqkd.data import Augmentation, Split
from tfqkd.fronts.tfmot.batches import training_batches

BATCHES = 50
"""In a step of this row: more than the pipeline has ready when its turn begins."""
_COUNT, _VIEWS = 50_000, 4


def prepare(kind: str) -> Callable[[int], object]:
    """Builds the batches of 128 images; returns what draws them."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_COUNT, 32, 32, 3), dtype=np.uint8)
    split = Split(images, generator.integers(0, 10, _COUNT))
    kept: dict[str, object] = {}
    if kind == "augmented, kept logits":
        logits = [kept_logits(_COUNT) for _ in range(_VIEWS)]
        kept = {"fixed_views": _VIEWS, "teacher_logits": logits}
    stream = iter(
        training_batches(
            split,
            batch_size=128,
            classes=10,
            seed=0,
            augmentation=Augmentation(),
            epochs=10_000,
            **kept,
        )
    )

    def run(steps: int) -> object:
        for _ in range(BATCHES * steps):
            batch = next(stream)
        return batch

    return run


if __name__ == "__main__":
    serve(lambda: prepare(sys.argv[1]))
