"""Quantizes a Keras 3 network with given weights, and writes steps, values and balanced weights."""

import sys

import keras
import numpy as np

from tests.fronts.keras3.settings import SCHEMES, balanced_weights, network
from tfqkd.fronts import keras3


def main(source: str, target: str) -> None:
    model = network(keras)
    given = np.load(source)
    model.set_weights([given[str(index)] for index in range(len(model.weights))])
    found = {}
    for scheme, (settings, layers) in SCHEMES.items():
        quantized = keras3.quantize_model(model, settings, layers)
        for index, kernel in enumerate(keras3.quantized_kernels(quantized)):
            place = f"{scheme}/{kernel.layer}/{index}"
            found[f"{place}/value"] = keras.ops.convert_to_numpy(kernel.value())
            for name, variable in kernel.state.items():
                found[f"{place}/{name}"] = keras.ops.convert_to_numpy(variable.value)
        summary = keras3.quantization_summary(quantized, print_fn=None)
        rows = [(row.bits, row.zeros, row.error, row.packed_bytes) for row in summary.layers]
        found[f"{scheme}/summary"] = np.array([*rows, (summary.packed_bytes, 0, 0, 0)])
    found["balanced"] = balanced_weights(keras3, keras, model.get_weights())
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
