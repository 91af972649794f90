"""Runs a file on batches: `python -m tfqkd.runtime.predict [--direct] MODEL INPUT.npz OUTPUT.npz`.

INPUT holds the file's inputs by name, `images` [N, H, W, C] mostly; OUTPUT receives its outputs by name.
Export runs every new file this way, in a process of its own: a file that crashes its runtime takes nothing
else with it.
"""

import sys
from collections.abc import Sequence

import numpy as np

from tfqkd.runtime.inputs import batches
from tfqkd.runtime.loading import load

_DIRECT = "--direct"


def predict(model_path: str, input_path: str, output_path: str, *, direct: bool = False) -> None:
    """Reads inputs, writes outputs.

    Args:
        model_path: A file that tfqkd exported.
        input_path: An .npz file with an array for each input.
        output_path: The .npz file to write an array for each output to.
        direct: Give the file to the runtime as it is; see `tfqkd.runtime.load`.
    """
    model = load(model_path, direct=direct)
    with np.load(input_path, allow_pickle=False) as arrays:
        inputs = dict(arrays)
    parts = [model.named(batch) for batch in batches(inputs)]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in model.outputs}
    np.savez(output_path, allow_pickle=False, **outputs)


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
