import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils

from tfqkd.runtime import LitertModel

from .conftest import NAMES


def images(count, dtype=np.uint8):
    return np.random.default_rng(1).integers(0, 256, (count, 4, 3, 2)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("threads", [None, 2])
def test_logits_for_batches_of_changing_size(linear_file, dtype, threads):
    model = LitertModel(linear_file.path, threads=threads)
    for count in (3, 1, 70, 3):
        batch = images(count, dtype)
        logits = model(batch)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, linear_file.logits(batch), rtol=1e-5, atol=1e-5)


def test_logits_outlive_the_next_call(linear_file):
    model = LitertModel(linear_file.path)
    first = model(images(2))
    copy = first.copy()
    model(255 - images(2))
    np.testing.assert_array_equal(first, copy)


def test_properties_come_from_the_file(linear_file):
    model = LitertModel(str(linear_file.path))
    assert model.class_names == NAMES
    assert model.input_shape == (4, 3, 2)
    assert model.path == linear_file.path


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 3, 4, 2), (0, 4, 3, 2), (1, 4, 3, 2, 1), ()])
def test_images_of_another_shape_are_refused(linear_file, shape):
    with pytest.raises(ValueError, match=r"\[N, 4, 3, 2\], N ≥ 1. Received: \["):
        LitertModel(linear_file.path)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.float16])
def test_images_of_another_type_are_refused(linear_file, dtype):
    with pytest.raises(TypeError, match=f"Received: {np.dtype(dtype)}"):
        LitertModel(linear_file.path)(images(1, dtype))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_damaged_files_are_refused(linear_file, tmp_path, share):
    content = linear_file.path.read_bytes()
    (tmp_path / "short.tflite").write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ValueError, match=r"must be complete and readable. Received: .*short.tflite"
    ):
        LitertModel(tmp_path / "short.tflite")


def test_files_of_others_are_refused(linear_file, tmp_path):
    file = flatbuffer_utils.read_model(linear_file.path)
    file.signatureDefs[0].inputs[0].name = b"pixels"
    flatbuffer_utils.write_model(file, tmp_path / "other.tflite")
    with pytest.raises(
        ValueError,
        match=r"serving_default\(images\) -> logits or probabilities or values. Received: .*pixels",
    ):
        LitertModel(tmp_path / "other.tflite")
    file.signatureDefs = None
    flatbuffer_utils.write_model(file, tmp_path / "other.tflite")
    with pytest.raises(
        ValueError,
        match=r"serving_default\(images\) -> logits or probabilities or values. Received: .*{}",
    ):
        LitertModel(tmp_path / "other.tflite")


def test_missing_files_and_bad_threads_are_refused(linear_file, tmp_path):
    with pytest.raises(FileNotFoundError):
        LitertModel(tmp_path / "none.tflite")
    with pytest.raises(ValueError, match="Received: threads=0"):
        LitertModel(linear_file.path, threads=0)


def test_numpy_and_the_runtime_are_all_it_needs(linear_file):
    code = f"""
import sys
before = set(sys.modules)
import numpy as np
import tfqkd
model = tfqkd.export.load({str(linear_file.path)!r})
assert model(np.zeros((2, 4, 3, 2), np.uint8)).shape == (2, 3)
imported = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*imported - sys.stdlib_module_names)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(child.stdout.split())
    assert {"tfqkd", "numpy", "ai_edge_litert"} <= imported
    # What ai-edge-litert installs by itself.
    assert imported <= {"tfqkd", "numpy", "ai_edge_litert", "flatbuffers", "ml_dtypes", "tqdm"}


def test_a_missing_runtime_names_the_extra():
    code = "import sys; sys.modules['ai_edge_litert'] = None; from tfqkd.runtime import LitertModel"
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert child.returncode == 1
    assert "ImportError: LiteRT files need the package ai-edge-litert" in child.stderr
    assert "pip install ai-edge-litert" in child.stderr
