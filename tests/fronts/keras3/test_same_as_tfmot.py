"""The same settings and weights give the same steps, codes and balanced weights on both fronts.

Keras 3 has one backend in a process: another than that of the tests has a process of its own.
"""

import keras as keras3
import numpy as np
import pytest

from tests.fronts.keras3.backends import run, slow_on
from tests.fronts.keras3.children import quantized_values
from tests.fronts.keras3.settings import SCHEMES, balanced_weights, network
from tfqkd import tfmot
from tfqkd.compat import keras
from tfqkd.fronts.tfmot.model import quantized_kernels

CLOSE = {"TWN", "DoReFa"}
"""Their values come from means and tanh, whose last bits are each framework's own."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    random = np.random.default_rng(4)
    model = network(keras)
    # Channels of very different sizes, and one of zeros.
    drawn = [
        random.normal(0, 0.1, w.shape) * random.uniform(0.1, 3, w.shape[-1]) for w in model.weights
    ]
    drawn[0][..., 2] = 0
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    arrays = [np.abs(w).astype(np.float32) if w.ndim == 1 else w.astype(np.float32) for w in drawn]
    model.set_weights(arrays)
    np.savez(path, **{str(index): array for index, array in enumerate(arrays)})
    return model, path


@pytest.mark.parametrize("backend", slow_on("jax"))
def test_both_fronts_give_the_same(weights, backend, tmp_path):
    model, path = weights
    arguments = str(path), str(tmp_path / "found.npz")
    if backend == keras3.backend.backend():
        quantized_values.main(*arguments)
    else:
        run(backend, "-m", quantized_values.__name__, *arguments)
    found = np.load(tmp_path / "found.npz")
    compared = set()
    for scheme, (settings, layers) in SCHEMES.items():
        quantized = tfmot.quantize_model(model, settings, layers)
        for index, kernel in enumerate(quantized_kernels(quantized)):
            place = f"{scheme}/{kernel.layer}/{index}"
            expected = {"value": kernel.value(), **kernel.state}
            for name, value in expected.items():
                key = f"{place}/{name}"
                tolerance = 1e-6 if scheme in CLOSE else 0
                np.testing.assert_allclose(
                    found[key], np.asarray(value), rtol=tolerance, atol=tolerance, err_msg=key
                )
                compared.add(key)
        summary = tfmot.quantization_summary(quantized, print_fn=None)
        rows = [(row.bits, row.zeros, row.error, row.packed_bytes) for row in summary.layers]
        expected = np.array([*rows, (summary.packed_bytes, 0, 0, 0)])
        np.testing.assert_allclose(found[f"{scheme}/summary"], expected, rtol=1e-6)
        compared.add(f"{scheme}/summary")
    weights = balanced_weights(tfmot, keras, model.get_weights())
    assert min(weights) > 0
    np.testing.assert_allclose(found["balanced"], weights, rtol=1e-3)
    assert compared | {"balanced"} == set(found.files)
