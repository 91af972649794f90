import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.quantization.model import quantize_model
from tfqkd.quantization.schemes import UniformScheme
from tfqkd.quantization.summary import quantization_summary

from . import reference

layers = keras.layers


def network():
    model = keras.Sequential(
        [
            keras.Input((5, 5, 2)),
            layers.Conv2D(3, 3, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Conv2D(5, 3, name="second"),
            layers.Flatten(),
            layers.Dense(7, use_bias=False, name="third"),
            layers.Dense(2, name="last"),
        ]
    )
    generator = np.random.default_rng(0)
    for layer in ("first", "second", "last"):
        kernel = model.get_layer(layer).kernel
        kernel.assign(generator.normal(size=kernel.shape))
    model.get_layer("first").kernel[0, 0, 0, 0].assign(0.0)
    model.get_layer("third").kernel.assign(np.zeros((5, 7)))
    return model


@pytest.mark.parametrize(("granularity", "steps"), [("tensor", 1), ("channel", 5)])
def test_rows_and_sizes_equal_numpy(granularity, steps):
    model = network()
    summary = quantization_summary(
        quantize_model(model, UniformScheme(3, granularity), {"second": 3, "third": 2}),
        print_fn=None,
    )
    first, second, third, last = summary.layers
    kernel = model.get_layer("second").kernel.numpy()
    axes = (3,) if granularity == "channel" else ()
    value = reference.quantized(kernel, 3, axes)
    assert (second.layer, second.shape, second.bits) == ("second", (3, 3, 3, 5), 3)
    assert second.step == pytest.approx(reference.steps(kernel, 3, axes).mean(), rel=1e-6)
    assert second.zeros == pytest.approx(np.mean(value == 0))
    error = np.linalg.norm(kernel - value) / np.linalg.norm(kernel)
    assert second.error == pytest.approx(error, rel=1e-5)
    assert second.float_bytes == 4 * 135
    assert second.packed_bytes == 51 + 4 * steps  # 135 weights of 3 bits fill 50.6 bytes.

    assert (third.step, third.zeros, third.error) == (0.0, 1.0, 0.0)
    for row, size in ((first, 54), (last, 14)):
        assert (row.bits, row.step, row.error) == (32, None, 0.0)
        assert row.float_bytes == row.packed_bytes == 4 * size
    assert first.zeros == pytest.approx(1 / 54)

    assert summary.other_bytes == 4 * (3 + 4 * 3 + 5 + 2)
    assert summary.float_bytes == 4 * model.count_params()
    rows = sum(row.packed_bytes for row in summary.layers)
    assert summary.packed_bytes == rows + summary.other_bytes


def test_the_table_is_printed_and_tells_what_stays_float():
    lines = []
    summary = quantization_summary(quantize_model(network()), lines.append)
    assert lines == [str(summary)]
    rows = {line.split()[0]: line.split()[1:] for line in lines[0].splitlines() if line.split()}
    assert rows["first"] == ["3×3×2×3", "float", "1.9", "216", "216"]
    assert rows["third"][:2] == ["5×7", "2"]
    assert rows["total"] == [f"{summary.float_bytes:,}", f"{summary.packed_bytes:,}"]
    assert "Left float: first, last" in lines[0]


def test_a_float_model_has_the_same_size_twice(capsys):
    summary = quantization_summary(network())
    assert summary.float_bytes == summary.packed_bytes == 4 * network().count_params()
    assert str(summary) in capsys.readouterr().out
