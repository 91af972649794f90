"""Files of models with other quantizers than the paper's: exact, with the steps that were trained."""

import numpy as np
import pytest

import tfqkd
from tfqkd.compat import keras, tf
from tfqkd.core.activations import LsqActivationQuantizer, PactQuantizer
from tfqkd.core.quantizers import DorefaQuantizer, LsqQuantizer, TtqQuantizer
from tfqkd.fronts.tfmot.model import quantized_kernels

pytestmark = pytest.mark.usefixtures("in_this_process")

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("quantizer", "activations", "bits"),
    [
        (TtqQuantizer(), LsqActivationQuantizer(4), 4),  # Two planes of 2 bits.
        (LsqQuantizer(2), PactQuantizer(2), 2),  # −2 to 1.
        (DorefaQuantizer(2), None, 4),  # −3, −1, 1 and 3.
        pytest.param(LsqQuantizer(4), None, 4, marks=pytest.mark.slow),  # −8 to 7.
        pytest.param(LsqQuantizer(8), None, 8, marks=pytest.mark.slow),
        pytest.param(DorefaQuantizer(4), None, 8, marks=pytest.mark.slow),  # Odd, −15 to 15.
    ],
)
def test_a_file_computes_with_the_trained_scales(quantizer, activations, bits, tmp_path):
    keras.utils.set_random_seed(0)
    model = tfqkd.models.build("cnn4", (8, 8, 1), 10)
    quantized = tfqkd.quantize_model(model, tfqkd.Scheme(quantizer, activations))
    if activations:
        tfqkd.calibrate_activations(quantized, IMAGES)
        for found in tfqkd.quantized_activations(quantized):
            # Not where calibration puts it: the file must hold what training left.
            found.learned.assign(1.5 * found.learned)
    for kernel in quantized_kernels(quantized):
        if "step" in kernel.state:  # So small that the lowest code occurs, which has no opposite.
            peak = np.abs(kernel.latent.numpy()).max()
            kernel.state["step"].assign(np.full(kernel.state["step"].shape, 0.9 * peak / 2**bits))
    report = tfqkd.export.to_litert(
        quantized, tmp_path / "model.tflite", format="litert-int2", images=IMAGES
    )
    assert {kernel.bits for kernel in report.quantized} == {bits}
    if isinstance(quantizer, LsqQuantizer):
        assert {kernel.max_code for kernel in report.quantized} == {2 ** (bits - 1)}
    logits = tfqkd.export.load(tmp_path / "model.tflite")(IMAGES)
    np.testing.assert_allclose(logits, quantized(IMAGES), rtol=1e-4, atol=1e-3)


def with_trained_steps():
    """A model whose activation steps are no longer the calibrated ones; its logits before and after."""
    keras.utils.set_random_seed(0)
    model = tfqkd.models.build("cnn4", (8, 8, 1), 10)
    scheme = tfqkd.Scheme(LsqQuantizer(4), LsqActivationQuantizer(4))
    quantized = tfqkd.quantize_model(model, scheme)
    tfqkd.calibrate_activations(quantized, IMAGES)
    calibrated = quantized(IMAGES).numpy()
    for found in tfqkd.quantized_activations(quantized):
        found.learned.assign(1.5 * found.learned)
    expected = quantized(IMAGES).numpy()
    return quantized, calibrated, expected


@pytest.mark.slow
def test_every_exact_file_computes_with_the_trained_steps_of_activations(tmp_path):
    quantized, calibrated, expected = with_trained_steps()
    assert np.abs(expected - calibrated).max() > 0.01
    formats = ["litert-float32", "litert-int8", "litert-int2", "onnx-float32", "onnx-int2"]
    reports = tfqkd.export.export(
        quantized, tmp_path, ",".join(["saved_model", *formats]), images=IMAGES
    )
    assert [report.format for report in reports] == ["saved_model", *formats]
    saved = tf.saved_model.load(str(reports[0].path)).signatures["serving_default"]
    np.testing.assert_allclose(
        saved(images=tf.constant(IMAGES))["logits"], expected, rtol=1e-4, atol=1e-4
    )
    for report in reports[1:]:
        logits = tfqkd.export.load(report.path)(IMAGES)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_file_rounded_to_int8_besides_stays_near_the_trained_steps(tmp_path):
    quantized, calibrated, expected = with_trained_steps()
    path = tmp_path / "model.tflite"
    tfqkd.export.to_litert(
        quantized, path, format="litert-int8-full", images=IMAGES, calibration=IMAGES
    )
    logits = tfqkd.export.load(path)(IMAGES)
    assert np.abs(logits - expected).mean() < 0.2 * np.abs(calibrated - expected).mean()
