"""What a stock converter gets right is written; the rest is refused with the reason."""

import numpy as np
import pytest

import tfqkd
from tfqkd.compat import keras
from tfqkd.export import FORMATS, ExportError, export
from tfqkd.export.owners import Owners
from tfqkd.fronts.tfmot.flattening import flattened
from tfqkd.fronts.tfmot.kernels import kernels_of

from . import kinds

pytestmark = pytest.mark.usefixtures("in_this_process")

_GROUPED = "with PartitionedCall, which tf2onnx cannot convert; grouped convolutions are such"
_LOOP = "that loops over the steps, with .*Build the layer with unroll=True"
# By kind and the beginning of a format's name.
REFUSED = {
    ("Conv2D, grouped", "onnx"): rf"layer 'conv2d\w*' {_GROUPED}",
    ("GroupNormalization", "litert"): r"\(BROADCAST_TO\) failed",
    ("Conv3D", "litert-int8-full"): r"layer 'conv3d\w*', whose kernel .* does not round",
    (
        "Conv3DTranspose",
        "litert-int8-full",
    ): r"layer 'conv3d_transpose\w*', whose kernel .* not round",
    **{(name, "litert"): _LOOP for name in kinds.LOOPS},
}


def reason_to_refuse(name, form):
    fitting = [
        reason
        for (kind, begin), reason in REFUSED.items()
        if kind == name and form.startswith(begin)
    ]
    return fitting[0] if fitting else None


def require_right(name, model, form, directory):
    images = kinds.pixels(8)
    reason = reason_to_refuse(name, form)
    if reason:
        with pytest.raises(ExportError, match=reason) as caught:
            export(model, directory, form, images=images, calibration=images)
        assert "report the model" not in str(caught.value)
        return None
    (report,) = export(model, directory, form, images=images, calibration=images)
    return report


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds.KINDS)
def test_a_kind_is_exported_right_or_refused_with_the_reason(name, tmp_path):
    model = kinds.build(kinds.KINDS[name])
    # Files of integers alone have few kinds of layers; tests/export/integer has what they refuse.
    for form in [name for name, each in FORMATS.items() if not each.is_integer]:
        report = require_right(name, model, form, tmp_path)
        if report is not None:
            # Each kernel is in the file, under its layer's full name.
            stored = {kernel.layer for kernel in report.quantized}
            assert set(Owners.of(model).layers) == stored | set(report.float_layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds.KINDS)
def test_a_ternary_kind_is_exported_right_or_refused_with_the_reason(name, tmp_path):
    plain = kinds.build(kinds.KINDS[name])
    middle = [
        each
        for each in flattened(plain).layers[3:-1]
        if kernels_of(each) and each.get_weights()[0].any()
    ]
    if not middle:
        pytest.skip("It has no kernel that is quantized.")
    model = tfqkd.quantize_model(plain, tfqkd.TernaryScheme(), [each.name for each in middle])
    for form in ("litert-float16", "litert-int8-full", "litert-int8", "litert-int2", "onnx-int2"):
        report = require_right(name, model, form, tmp_path)
        if report is not None and FORMATS[form].kernel_bits:
            assert {kernel.layer for kernel in report.quantized} == {each.name for each in middle}


def attentive(x):
    """Separable, GELU, rank 3 and attentions."""
    x = layers.Activation("gelu")(layers.SeparableConv2D(4, 3, name="separable")(x))
    x = layers.Reshape((6, 24))(x)
    x = layers.Dense(24, activation="relu", name="dense")(x)
    return kinds.attention(x, 2)


def many(x):
    """The kinds that were refused, in one model: those above and an unrolled one."""
    return layers.GRU(3, unroll=True, name="gru")(attentive(x))


layers = keras.layers
MANY = ["stem", "separable", "dense", "gru/gru_cell", "head"] + [
    f"multi_head_attention{number}/{name}"
    for number in ("", "_1")
    for name in ("query", "key", "value", "attention_output")
]


@pytest.fixture(scope="module")
def model():
    keras.backend.clear_session()
    return kinds.build(many)


@pytest.mark.parametrize(
    "form",
    [
        "litert-int8-full",
        pytest.param("litert-float16", marks=pytest.mark.slow),
        pytest.param("onnx-float32", marks=pytest.mark.slow),
    ],
)
def test_kernels_are_told_apart_where_names_clash(model, form, tmp_path):
    report = require_right("many", model, form, tmp_path)
    assert sorted(report.float_layers) == sorted(MANY)


def test_a_ternary_kernel_is_stored_as_codes_beside_attention(tmp_path):
    keras.backend.clear_session()
    model = kinds.build(attentive)
    quantized = tfqkd.quantize_model(model, tfqkd.TernaryScheme(), ["separable", "dense"])
    report = require_right("attentive", quantized, "onnx-int2", tmp_path)
    stored = [(kernel.layer, kernel.bits) for kernel in report.quantized]
    assert stored == [("separable", 2), ("separable", 2), ("dense", 2)]


def test_layers_of_models_in_the_model_are_told_apart_by_their_paths(tmp_path):
    keras.backend.clear_session()
    model = kinds.build(kinds.KINDS["two towers with layers of one name"])
    quantized = tfqkd.quantize_model(model, tfqkd.TernaryScheme())
    for form in ("litert-int2", "onnx-int2"):
        report = require_right("towers", quantized, form, tmp_path)
        stored = [kernel.layer for kernel in report.quantized]
        assert stored == ["tower_a/conv", "tower_b/conv"]


def test_a_branch_reads_what_was_renamed(tmp_path):
    keras.backend.clear_session()
    model = kinds.build(kinds.KINDS["CenterCrop"])
    assert require_right("CenterCrop", model, "onnx-int2", tmp_path).float_layers


def test_a_loop_is_an_operator_in_onnx_and_refused_by_litert_with_what_to_do(tmp_path):
    model = kinds.build(kinds.LOOPS["GRU, looping"])
    report = require_right("GRU, looping", model, "onnx-float32", tmp_path)
    assert report.float_layers[-1].endswith("/gru_cell")
    require_right("GRU, looping", model, "litert-int2", tmp_path)


def test_a_layer_that_the_float_file_fails_with_is_named_and_no_other(tmp_path):
    model = kinds.build(kinds.KINDS["GroupNormalization"])
    require_right("GroupNormalization", model, "litert-int2", tmp_path)


def test_a_volume_gets_codes(tmp_path):
    model = tfqkd.quantize_model(kinds.build(kinds.KINDS["Conv3D"]), tfqkd.TernaryScheme())
    for form in ("litert-int2", "onnx-int2"):
        (kernel,) = require_right("", model, form, tmp_path).quantized
        assert (kernel.bits, kernel.weights) == (2, 2 * 2 * 2 * 8 * 5)
    np.testing.assert_array_equal(len(list(tmp_path.iterdir())), 2)
