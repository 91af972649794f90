"""Faults planted into a file on its way: none of them may end up as an exported file."""

import numpy as np
import pytest

from tfqkd.export import ExportError, litert, tflite, to_litert
from tfqkd.export.source import Source
from tfqkd.export.tflite import schema

from . import classifier

LAYER = "ternary"


@pytest.fixture(scope="module")
def model():
    return classifier.build()[0]


@pytest.fixture(autouse=True, scope="module")
def converted_once(model):
    """The converter is slow, and no fault is planted before it."""
    content = litert._convert(Source.prepare(model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(litert, "_convert", lambda source: content)
        yield


def ternary_constant(file):
    """The codes of the layer with the only ternary kernel of shape [8, 3, 3, 8]."""
    (tensor,) = [
        tensor
        for tensor in file.subgraphs[0].tensors
        if tensor.type == schema.TensorType.INT2 and list(tensor.shape) == [8, 3, 3, 8]
    ]
    return tensor


def scale_wrong(file):
    scale = ternary_constant(file).quantization.scale
    scale[3] *= np.float32(1.0001)


def swap_channels(file):
    data = file.buffers[ternary_constant(file).buffer].data.reshape(8, -1)
    data[[4, 5]] = data[[5, 4]]


def flip_one_code(file):
    # Code 1 (01) and code −1 (11) differ in the upper bit.
    data = file.buffers[ternary_constant(file).buffer].data
    data[np.flatnonzero(data & 1)[0]] ^= 2


def widen_type(file):
    ternary_constant(file).type = schema.TensorType.INT4


def turn_axis(file):
    ternary_constant(file).quantization.quantizedDimension = 3


def feed_codes_directly(file):
    graph = file.subgraphs[0]
    constant = next(i for i, t in enumerate(graph.tensors) if t is ternary_constant(file))
    (dequantize,) = [op for op in graph.operators if list(op.inputs) == [constant]]
    graph.operators.remove(dequantize)
    for operator in graph.operators:
        operator.inputs = [constant if i == dequantize.outputs[0] else i for i in operator.inputs]


def spoil_bias(file):
    """Makes the first bias of the layer NaN: the batch normalisation's shift."""
    graph = file.subgraphs[0]
    constant = next(i for i, t in enumerate(graph.tensors) if t is ternary_constant(file))
    (dequantize,) = [op for op in graph.operators if list(op.inputs) == [constant]]
    (convolution,) = [op for op in graph.operators if dequantize.outputs[0] in list(op.inputs)]
    buffer = file.buffers[graph.tensors[convolution.inputs[2]].buffer]
    bias = buffer.data.view(np.float32).copy()
    bias[0] = np.nan
    buffer.data = bias.view(np.uint8)


def plant(monkeypatch, fault):
    """Lets a fault happen to what is written, after the codes were stored."""
    write = tflite.write

    def write_wrongly(file):
        fault(file)
        return write(file)

    monkeypatch.setattr(tflite, "write", write_wrongly)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (scale_wrong, "other scales"),
        (swap_channels, "other codes"),
        (flip_one_code, "1 other codes"),
        (widen_type, r"codes of \(4,\) bits instead of \(2,\)"),
        (turn_axis, "other scales, zero points or channel axis"),
        (feed_codes_directly, "read directly"),
    ],
)
def test_a_fault_in_a_kernel_is_found_when_the_file_is_read_back(
    model, tmp_path, monkeypatch, fault, message
):
    plant(monkeypatch, fault)
    with pytest.raises(ExportError, match=message) as caught:
        to_litert(model, tmp_path / "a.tflite")
    assert f"'{LAYER}'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (scale_wrong, "logits that differ"),
        pytest.param(swap_channels, "logits that differ", marks=pytest.mark.slow),
        (feed_codes_directly, "not finite|differ|ended by|exit code"),
        (spoil_bias, "not finite"),
    ],
)
def test_a_fault_that_only_shows_at_run_time_is_refused(
    request, model, tmp_path, monkeypatch, fault, message
):
    if fault is not feed_codes_directly:  # That one may end the process.
        request.getfixturevalue("in_this_process")
    if fault is scale_wrong:  # Far enough that a logit shows it.

        def fault(file):
            ternary_constant(file).quantization.scale[:] *= 3

    plant(monkeypatch, fault)
    monkeypatch.setattr(litert, "check_kernels", lambda *_: None)
    with pytest.raises(ExportError, match=message):
        to_litert(model, tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("factors", "order", "message"),
    [
        ([1] * 8, [1, 0, *range(2, 8)], ", whose channel 0 is another one"),
        ([0, *[1] * 7], range(8), " with codes and scales that do not stand for the model's"),
        ([1.0001, *[1] * 7], range(8), " with codes and scales that do not stand for the model's"),
    ],
    ids=["swapped channels", "a channel of zeros", "a wrong scale"],
)
def test_a_fault_before_the_file_is_written_is_found(
    model, tmp_path, monkeypatch, factors, order, message
):
    find = tflite.find_planes

    def find_wrongly(kernel, axis):
        if kernel.shape == (8, 3, 3, 8):
            scaled = kernel * np.float32(factors)[:, None, None, None]
            return find(scaled[list(order)], axis)
        return find(kernel, axis)

    monkeypatch.setattr(tflite, "find_planes", find_wrongly)
    with pytest.raises(ExportError, match=f"layer '{LAYER}'{message}"):
        to_litert(model, tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(model, tmp_path, monkeypatch, kept):
    write = tflite.write
    monkeypatch.setattr(tflite, "write", lambda file: write(file)[: int(kept * len(write(file)))])
    with pytest.raises(ExportError, match=r"read back|complete and readable"):
        to_litert(model, tmp_path / "a.tflite")
    assert list(tmp_path.iterdir()) == []
