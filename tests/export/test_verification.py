import pathlib
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils

from tfqkd.export import verification
from tfqkd.export.verification import ExportError, staged_file, verify

from . import classifier

LITERT = ("-m", "tfqkd.runtime.predict")


def answering(logits):
    """A runner that answers with these logits, whatever it is asked."""
    values = repr(np.asarray(logits).tolist())
    code = f"import sys, numpy as np; np.savez(sys.argv[3], logits=np.array({values}, 'float32'))"
    return ["-c", code]


def check(runner, expected, tolerance=1e-4):
    expected = np.array(expected, np.float32)
    images = np.zeros((len(expected), 1), np.float32)
    answers = {"logits": expected}
    return verify(runner, pathlib.Path("student.tflite"), {"images": images}, answers, tolerance)


@pytest.fixture(scope="module")
def good(exported):
    """A file's content, its inputs, and the outputs of the Keras model."""
    images = classifier.pixels(4)
    content = (exported.directory / "student-int8.tflite").read_bytes()
    return content, {"images": images}, {"logits": exported.model(images).numpy()}


def test_difference_and_agreement_are_measured():
    expected = [[1.0, 3.0], [2.0, 2.0], [0.0, -5.0], [-1.0, 1.0]]
    received = [[1.0, 3.0], [2.0, 2.00025], [0.0, -5.0], [-1.0, 1.0]]
    agreement = check(answering(received), expected)
    # Of the tie, another class comes out first.
    assert agreement.agreement == 0.75
    assert agreement.max_difference == pytest.approx(2.5e-4, rel=1e-3)


def test_tolerance_is_relative_to_large_logits_only():
    check(answering([[0.5, 0.00009]]), [[0.5, 0.0]])
    check(answering([[100.0, 0.009]]), [[100.0, 0.0]])
    for received, expected in (
        ([[0.5, 0.00011]], [[0.5, 0.0]]),
        ([[100.0, 0.011]], [[100.0, 0.0]]),
    ):
        with pytest.raises(ExportError, match=r"Received: logits that differ by up to 1\.1e-0[24]"):
            check(answering(received), expected)


def test_another_best_class_is_refused_however_loose_the_tolerance():
    # Both logits are within the tolerance of 1, but the lead of 1.5 is no tie.
    with pytest.raises(ExportError, match="Received: another one for 1 of 2 images"):
        check(answering([[1.0, 0.2], [0.6, 0.9]]), [[1.0, 0.0], [1.5, 0.0]], tolerance=0.6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    code = f"import sys, numpy as np; np.savez(sys.argv[3], logits=np.array([[1.0, {bad!r}]]))"
    code = code.replace("nan", "np.nan").replace("inf", "np.inf")
    with pytest.raises(ExportError, match="1 of them not finite"):
        check(["-c", code], [[1.0, 0.0]])


def test_logits_of_another_shape_are_refused():
    with pytest.raises(ExportError, match=r"Received: shape \(1, 3\)"):
        check(answering([[1.0, 0.0, 0.0]]), [[1.0, 0.0]])


def test_a_crash_is_reported_with_its_signal():
    with pytest.raises(ExportError, match="the process was ended by SIGSEGV"):
        check(["-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"], [[1.0]])


def test_a_failure_is_reported_with_its_last_words():
    with pytest.raises(ExportError, match="exit code 1: ValueError: no such operator"):
        check(["-c", "raise ValueError('no such operator')"], [[1.0]])


def test_a_runtime_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(verification, "TIMEOUT_SECONDS", 0.3)
    with pytest.raises(ExportError, match="must answer within 0 s"):
        check(["-c", "import time; time.sleep(60)"], [[1.0]])


def test_the_child_ignores_modules_in_the_working_directory(tmp_path, monkeypatch, good):
    content, images, logits = good
    (tmp_path / "good.tflite").write_bytes(content)
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert verify(LITERT, tmp_path / "good.tflite", images, logits, 1e-4).agreement == 1.0


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path, good, kept):
    content, images, logits = good
    file = tmp_path / "short.tflite"
    file.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(ExportError, match="A LiteRT file must be complete and readable"):
        verify(LITERT, file, images, logits, 1e-4)


def kernel_buffer(file):
    (tensor,) = [t for t in file.subgraphs[0].tensors if t.name == b"small/ternary/Conv2D"]
    return file.buffers[tensor.buffer]


def bias_buffer(file):
    (tensor,) = [t for t in file.subgraphs[0].tensors if tuple(t.shape) == (16,)]
    return file.buffers[tensor.buffer]


def flip_codes(file):
    kernel_buffer(file).data = (-kernel_buffer(file).data.view(np.int8)).view(np.uint8)


def spoil_bias(file):
    bias = bias_buffer(file).data.tobytes()
    bias_buffer(file).data = np.frombuffer(bias[:-4] + np.float32(np.nan).tobytes(), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [(flip_codes, "Received: logits that differ"), (spoil_bias, "not finite")],
)
def test_a_file_with_wrong_weights_is_refused(tmp_path, good, change, message):
    content, images, logits = good
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    change(model)
    file = tmp_path / "wrong.tflite"
    file.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with pytest.raises(ExportError, match=message):
        verify(LITERT, file, images, logits, 1e-4)


def test_a_directory_that_cannot_be_written_is_an_early_error(tmp_path):
    (tmp_path / "file").write_text("")
    message = "must be in a directory that can be written"
    with pytest.raises(ExportError, match=message), staged_file(tmp_path / "file" / "target"):
        raise AssertionError("The block must not run.")


def test_verification_needs_no_tensorflow():
    code = "import sys, tfqkd.export.verification; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
