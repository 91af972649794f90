import numpy as np

from tfqkd.export import tflite
from tfqkd.export.owners import Owners


def test_reading_and_writing_keeps_everything_the_runtime_needs(exported):
    content = (exported.directory / "student-int8.tflite").read_bytes()
    once = tflite.write(tflite.read(content))
    assert tflite.write(tflite.read(once)) == once
    before, after = tflite.read(content), tflite.read(once)
    assert len(before.operatorCodes) == len(after.operatorCodes)
    for old, new in zip(before.buffers, after.buffers, strict=True):
        np.testing.assert_array_equal(old.data, new.data)
    assert [d.signatureKey for d in after.signatureDefs] == [b"serving_default"]


def test_without_bits_nothing_changes(exported):
    content = (exported.directory / "student-float32.tflite").read_bytes()
    model = tflite.read(content)
    kernels = tflite.store_kernels(model, None, Owners("", ()))
    assert len(kernels) == 7 and not any(kernel.planes for kernel in kernels)
    assert tflite.write(model) == tflite.write(tflite.read(content))


def test_float_kernels_hold_the_head_transposed(exported):
    content = (exported.directory / "student-float32.tflite").read_bytes()
    kernels = {
        kernel.names[0].split(";")[0]: kernel
        for kernel in tflite.float_kernels(tflite.read(content))
    }
    head = kernels["small/head/MatMul"]
    np.testing.assert_array_equal(head.value.T, exported.model.get_layer("head").get_weights()[0])
    assert head.axis == 0


def test_no_float_copy_of_a_quantized_kernel_stays_in_the_file(exported):
    model = tflite.read((exported.directory / "student-int8.tflite").read_bytes())
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata}
    for index, buffer in enumerate(model.buffers):
        assert index in used or buffer.data is None


def test_names_of_inner_tensors_are_dropped_and_those_of_the_signature_stay(exported):
    graph = tflite.read((exported.directory / "student-int2.tflite").read_bytes()).subgraphs[0]
    outer = {*graph.inputs, *graph.outputs}
    named = {index for index, tensor in enumerate(graph.tensors) if tensor.name}
    assert named == outer
