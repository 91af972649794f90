"""Every awkward model is exported right, or refused with the reason."""

import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import DorefaQuantizer, TtqQuantizer, TwnQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.export import FORMATS, ExportError, export, load
from tfqkd.fronts.tfmot.calibration import calibrate_activations
from tfqkd.fronts.tfmot.model import quantized_kernels

from . import awkward

pytestmark = pytest.mark.usefixtures("in_this_process")

# Close to others; the slow test has them, as it has all in every format.
_NEAR_OTHERS = {
    "convolution with bias",
    "dilated",
    "dilated depthwise",
    "norm before, no padding",
    "MobileNetV2",
}
# Layouts that differ between the two formats; the others are the same convolutions.
_ALSO_IN_ONNX = {"dense only", "transposed", "depthwise, two channels each", "separable"}

_TENSORFLOW = ("tensorflow", "tf_keras")


def exported(model, directory, formats):
    images = awkward.pixels(model, 4)
    reports = export(model, directory, formats, images=images)
    expected = model(images, training=False).numpy()
    for report in reports:
        for direct in () if FORMATS[report.format].runtime in _TENSORFLOW else (True, False):
            logits = load(report.path, direct=direct)(images)
            tolerance = 1e-4 * max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance)
    return reports


@pytest.mark.parametrize("name", [name for name in awkward.MODELS if name not in _NEAR_OTHERS])
def test_a_model_is_exported_right_with_two_bits(name, tmp_path):
    formats = ["litert-int2"] + ["onnx-int2"] * (name in _ALSO_IN_ONNX)
    for report in exported(awkward.build(name), tmp_path, formats):
        assert {(kernel.layer, kernel.bits) for kernel in report.quantized} == {("middle", 2)}
        assert report.float_layers == ("stem", "head")


def test_a_grouped_convolution_is_refused_by_onnx_with_the_reason(tmp_path):
    message = "layer 'middle' with PartitionedCall, which tf2onnx cannot convert; grouped"
    with pytest.raises(ExportError, match=message):
        export(awkward.build("grouped"), tmp_path, "onnx-int2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", awkward.MODELS)
def test_a_model_is_exported_right_in_every_exact_format(name, tmp_path):
    model = awkward.build(name)
    kernels = [kernel.layer for kernel in quantized_kernels(model)]
    # Of MobileNetV2's 53 kernels all but the first convolution and the classifier.
    count, ends = (51, ("Conv1", "predictions")) if name == "MobileNetV2" else (1, ("stem", "head"))
    assert len(set(kernels)) == count
    forms = [form for form in FORMATS.values() if form.tolerance <= 1e-4]
    if name == "grouped":
        forms = [form for form in forms if form.runtime != "onnxruntime"]
    assert {"saved_model", "keras", "litert-int8", "litert-int2"} <= {form.name for form in forms}
    reports = exported(model, tmp_path, [form.name for form in forms])
    for form, report in zip(forms, reports, strict=True):
        if form.kernel_bits is None:
            assert report.quantized == ()
            continue
        assert sorted(kernel.layer for kernel in report.quantized) == sorted(kernels)
        assert {kernel.bits for kernel in report.quantized} == {form.kernel_bits}
        assert report.float_layers == ends


@pytest.mark.parametrize(
    ("quantizer", "bits"),
    # TTQ: two planes of 2 bits. DoReFa's levels are −3, −1, 1 and 3 thirds.
    [
        pytest.param(TwnQuantizer(), 2, id="TWN", marks=pytest.mark.slow),
        pytest.param(TtqQuantizer(), 4, id="TTQ"),
        pytest.param(DorefaQuantizer(2), 4, id="DoReFa", marks=pytest.mark.slow),
    ],
)
def test_other_quantizers_levels_are_exported_exactly(quantizer, bits, tmp_path):
    model = awkward.build("dilated", Scheme(quantizer))
    if isinstance(quantizer, TtqQuantizer):
        (kernel,) = quantized_kernels(model)
        for name, variable in kernel.state.items():
            variable.assign(variable * (1.7 if "positive" in name else 1.0))
        low, high = np.unique(kernel.value())[[0, -1]]
        assert -low != high
    for report in exported(model, tmp_path, ["litert-int2", "onnx-int2"]):
        assert [(kernel.layer, kernel.bits) for kernel in report.quantized] == [("middle", bits)]


def test_levels_beyond_eight_bits_are_refused_with_the_layer(tmp_path):
    # DoReFa's 8 bits are odd multiples up to 255 of half a step.
    model = awkward.build("dilated", Scheme(DorefaQuantizer(8)))
    with pytest.raises(ExportError, match="layer 'middle', whose kernel in the file has no codes"):
        export(model, tmp_path, "litert-int2")
    assert list(tmp_path.iterdir()) == []


def test_quantized_activations_are_exported_right_but_not_as_keras_file(tmp_path):
    scheme = Scheme(TwnQuantizer(), LsqActivationQuantizer(4))
    model = awkward.build("dilated", scheme)
    calibrate_activations(model, awkward.pixels(model, 32))
    (report,) = exported(model, tmp_path, ["litert-int2"])
    assert [(kernel.layer, kernel.bits) for kernel in report.quantized] == [("middle", 2)]
    with pytest.raises(ExportError, match=r"must load without tfqkd. Received: layer '.*_quantiz"):
        export(model, tmp_path, "keras")
    assert [file.name for file in tmp_path.iterdir()] == ["student-int2.tflite"]


@pytest.mark.slow
def test_a_model_that_litert_has_no_operations_for_is_refused(tmp_path):
    layers = [keras.layers.Reshape((8, 8)), keras.layers.LSTM(3), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    with pytest.raises(ExportError, match=r"LiteRT's own operations\. Received: .*tf\.TensorList"):
        export(model, tmp_path, "litert-int8")
    assert list(tmp_path.iterdir()) == []
