"""Runs a file on images: `python -m tfqkd.runtime.predict [--direct] MODEL INPUT.npz OUTPUT.npz`.

INPUT holds `images` [N, H, W, C]; OUTPUT receives `logits`
[N, classes], whatever the model returns. Export runs every new file
this way, in a process of its own: a file that crashes its runtime takes nothing else with it.
"""

import sys
from collections.abc import Sequence

import numpy as np

from tfqkd.runtime.images import batches
from tfqkd.runtime.loading import load
from tfqkd.runtime.signature import INPUT, OUTPUT

_DIRECT = "--direct"


def predict(model_path: str, input_path: str, output_path: str, *, direct: bool = False) -> None:
    """Reads `images`, writes `logits`.

    Args:
        model_path: A file that tfqkd exported.
        input_path: An .npz file with the array `images`.
        output_path: The .npz file to write the array `logits` to.
        direct: Give the file to the runtime as it is; see `tfqkd.runtime.load`.
    """
    model = load(model_path, direct=direct)
    with np.load(input_path, allow_pickle=False) as arrays:
        images = arrays[INPUT]
    logits = np.concatenate([model(batch) for batch in batches(images)])
    np.savez(output_path, allow_pickle=False, **{OUTPUT: logits})


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and calls `predict`."""
    paths = [argument for argument in arguments if argument != _DIRECT]
    if len(paths) != 3:
        raise SystemExit(
            "Usage: python -m tfqkd.runtime.predict [--direct] MODEL INPUT.npz OUTPUT.npz"
        )
    predict(*paths, direct=_DIRECT in arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
