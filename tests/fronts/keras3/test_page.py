"""The examples of docs/keras3.md run: on every backend; that with a base of keras.applications on JAX."""

import importlib.util
import re

import numpy as np
import pytest

from tests.fronts.keras3.backends import BACKENDS, ROOT, run
from tfqkd.runtime import load

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "keras3.md").read_text()
NESTED = "keras.applications.MobileNetV2"


def example(folder, nested):
    """The script of an example, which leaves its files in a folder."""
    (found,) = [
        text
        for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        if "distiller.fit" in text and (NESTED in text) is nested
    ]
    script = folder / "example.py"
    script.write_text(f"import os\nos.chdir({str(folder)!r})\n{found}")
    return str(script)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_example_of_the_page_trains_and_exports(backend, tmp_path):
    said = run(backend, example(tmp_path, nested=False))
    assert float(said.split("accuracy ")[-1]) > 0.6
    assert (tmp_path / "student.tflite").stat().st_size < 12_000
    assert {path.name for path in tmp_path.iterdir()} >= {"training.keras", "student.keras"}


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory):
    """The folder of the example with a base of keras.applications, trained under JAX; and what it said."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    folder = tmp_path_factory.mktemp("fine_tuned")
    return folder, run("jax", example(folder, nested=True))


def test_a_nested_base_is_fine_tuned_to_a_file_that_litert_runs(fine_tuned):
    folder, said = fine_tuned
    assert "kernels: 51 quantized, 2 float" in said
    test = np.load(folder / "test.npz")
    model = load(folder / "mobilenet.tflite", direct=True)
    found, expected = model(test["images"]), test["logits"]
    allowed = 1e-4 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)
    # Of 2-bit codes: a sixteenth of their floats, and the float ends, scales and structure.
    floats = (folder / "student.keras").stat().st_size
    assert (folder / "mobilenet.tflite").stat().st_size < floats / 3


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
@pytest.mark.parametrize("file", ["training.keras", "student.keras"])
def test_what_jax_has_saved_loads_on_other_backends(fine_tuned, backend, file, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder, _ = fine_tuned
    module = "tests.fronts.keras3.children.loaded"
    run(
        backend, "-m", module, str(folder / file), str(folder / "test.npz"), str(tmp_path / "a.npz")
    )
    found, expected = np.load(tmp_path / "a.npz"), np.load(folder / "test.npz")["logits"]
    allowed = 1e-4 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found["logits"], expected, rtol=0, atol=allowed)
