import numpy as np
import pytest

from tests.core import reference
from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.schemes import UniformScheme
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.summary import quantization_summary

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


def rows_of(model):
    summary = quantization_summary(model, print_fn=None)
    return {row.layer: row.shape for row in summary.layers}, summary.other_bytes // 4


class Table(layers.Layer):
    """A layer of a user with weights of names of its own."""

    def build(self, shape):
        self.matrix = self.add_weight("w", (shape[-1], 3))
        self.shift = self.add_weight("shift", (3,))
        self.seen = self.add_weight("seen", (2, 2), trainable=False)

    def call(self, inputs):
        return inputs @ self.matrix + self.shift


SEQUENCE, IMAGE = (6, 4), (8, 8, 2)
KINDS = {
    "gru": (layers.GRU(3), SEQUENCE, [(4, 9), (3, 9)], 18),
    "lstm": (layers.LSTM(3), SEQUENCE, [(4, 12), (3, 12)], 12),
    "rnn of cells": (
        layers.RNN([layers.SimpleRNNCell(3), layers.SimpleRNNCell(2)]),
        SEQUENCE,
        [(4, 3), (3, 3), (3, 2), (2, 2)],
        5,
    ),
    "bidirectional": (
        layers.Bidirectional(layers.SimpleRNN(3)),
        SEQUENCE,
        2 * [(4, 3), (3, 3)],
        6,
    ),
    "attention": (
        layers.MultiHeadAttention(2, 3),
        SEQUENCE,
        [*(3 * [(4, 2, 3)]), (2, 3, 4)],
        3 * 6 + 4,
    ),
    "time distributed": (layers.TimeDistributed(layers.Dense(3)), SEQUENCE, [(4, 3)], 3),
    "einsum": (
        layers.EinsumDense("abc,cd->abd", (6, 5), bias_axes="bd"),
        SEQUENCE,
        [(4, 5)],
        30,
    ),
    "locally connected": (layers.LocallyConnected1D(2, 3), SEQUENCE, [(4, 12, 2)], 8),
    "spectral norm": (layers.SpectralNormalization(layers.Dense(3)), SEQUENCE, [(4, 3)], 6),
    "separable": (layers.SeparableConv2D(3, 3), IMAGE, [(3, 3, 2, 1), (1, 1, 2, 3)], 3),
    "of the user": (Table(), SEQUENCE, [(4, 3)], 7),
    "layer norm": (layers.LayerNormalization(axis=[1, 2]), SEQUENCE, [], 48),
    "prelu": (layers.PReLU(), SEQUENCE, [], 24),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_of_any_layer_have_rows_and_the_rest_none(kind):
    layer, shape, shapes, rest = KINDS[kind]
    layer = type(layer).from_config({**layer.get_config(), "name": "it"})
    inputs = keras.Input(shape)
    x = layer(inputs, inputs) if kind == "attention" else layer(inputs)
    model = keras.Model(inputs, x)
    rows, other = rows_of(model)
    assert (list(rows.values()), other) == (shapes, rest)
    assert all(name == "it" or name.startswith("it.") for name in rows)
    assert len(rows) == 1 or "it" not in rows
    text = str(quantization_summary(model, print_fn=None))
    assert ("Left float: " + ", ".join(rows) in text) == bool(rows)


def test_embeddings_beside_quantized_kernels_are_left_float():
    inputs = keras.Input((6,))
    x = layers.Embedding(9, 4, name="table")(inputs)
    x = layers.Dense(4, name="first")(x)
    x = layers.GRU(3, name="recurrent")(layers.Dense(4, name="second")(x))
    quantized = quantize_model(keras.Model(inputs, layers.Dense(2, name="head")(x)))
    summary = quantization_summary(quantized, print_fn=None)
    floats = [row.layer for row in summary.layers if row.step is None]
    assert floats == [
        "table",
        "first",
        "recurrent.gru_cell.kernel",
        "recurrent.gru_cell.recurrent_kernel",
        "head",
    ]
    assert summary.other_bytes == 4 * (4 + 4 + 18 + 2)
    assert summary.float_bytes == 4 * (9 * 4 + 2 * 20 + 9 * 4 + 9 * 3 + 18 + 8)


def test_models_within_the_model_show_their_layers():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = layers.Dense(3, name="dense")
            self.matrix = self.add_weight("matrix", (3, 3))

        def call(self, inputs):
            return self.dense(inputs) @ self.matrix

    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="dense"), Own()], name="inner"
    )
    outer = [keras.Input((4,)), layers.Dense(4, name="dense"), inner, layers.Dense(2, name="head")]
    rows, other = rows_of(keras.Sequential(outer))
    assert rows == {
        "dense": (4, 4),
        "inner/dense": (4, 4),
        "inner/own/dense": (4, 3),
        "inner/own": (3, 3),
        "head": (3, 2),
    }
    assert other == 4 + 4 + 3 + 2
    within = quantize_model(
        keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a"), layers.Dense(4, name="b")]),
        layers="b",
    )
    summary = quantization_summary(keras.Sequential([keras.Input((4,)), within]), print_fn=None)
    assert [row.bits for row in summary.layers] == [32, 2]
    assert summary.float_bytes == 4 * 2 * 20


def test_tfmots_own_wrapper_has_the_same_rows():
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    shape = (5, 5, 2)
    made = layers.SeparableConv2D(3, 3, name="separable")
    model = keras.Sequential([keras.Input(shape), annotate(made), layers.Flatten()])
    with tfmot.quantization.keras.quantize_scope():
        applied = tfmot.quantization.keras.quantize_apply(model, UniformScheme(3))
    made = layers.SeparableConv2D(3, 3, name="separable")
    plain = keras.Sequential([keras.Input(shape), made, layers.Flatten()])
    expected = rows_of(quantize_model(plain, UniformScheme(3), layers="separable"))
    assert rows_of(applied) == expected == rows_of(plain)
    assert list(expected[0]) == ["separable.depthwise_kernel", "separable.pointwise_kernel"]


def test_two_weights_of_one_name_have_two_rows():
    class Twice(layers.Layer):
        def build(self, shape):
            self.both = [self.add_weight("w", (shape[-1], 2)) for _ in range(2)]

        def call(self, inputs):
            return tf.add_n([inputs @ weight for weight in self.both])

    rows, _ = rows_of(keras.Sequential([keras.Input((3,)), Twice(name="twice")]))
    assert rows == {"twice.w": (3, 2), "twice.w_1": (3, 2)}
