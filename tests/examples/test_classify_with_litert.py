import pathlib
import runpy
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfqkd.compat import keras
from tfqkd.export import to_litert
from tfqkd.runtime import load
from tfqkd.runtime.classification import classify
from tfqkd.runtime.pictures import read_picture

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "classify_with_litert.py"


def test_a_two_bit_file_is_classified_by_litert_alone(tmp_path):
    # Class "red" sums the red channel, and so on.
    dense = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    dense.kernel.assign(0.01 * np.tile(np.eye(3), (4, 1)))
    names = ("red", "green", "blue")
    report = to_litert(model, tmp_path / "a.tflite", class_names=names, centre_crop=True)
    assert [kernel.bits for kernel in report.quantized] == [2]
    for name, colour in (("a", (9, 99, 5)), ("b", (50, 20, 60))):
        Image.new("RGB", (5, 4), colour).save(tmp_path / f"{name}.png")
    # Green but for its middle.
    wide = Image.new("RGB", (20, 4), (0, 250, 0))
    wide.paste((0, 0, 200), (8, 0, 12, 4))
    wide.save(tmp_path / "c.png")
    code = (
        "import runpy, sys\n"
        "for name in ('tfqkd', 'tensorflow', 'tf_keras'): sys.modules[name] = None\n"
        "sys.argv[0:1] = []; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, EXAMPLE, report.path, "a.png", "b.png", "c.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.splitlines() == ["a.png green", "b.png blue", "c.png blue"]
    assert classify(load(report.path), tmp_path / "c.png", top=1)[0][0] == "blue"


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (20, 30, 3), (9, 4, 3)])
def test_an_image_becomes_the_same_pixels_as_for_the_command(tmp_path, shape, cut):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    received = runpy.run_path(str(EXAMPLE))["pixels"](tmp_path / "a.png", *shape, cut)
    assert received.dtype == np.float32
    np.testing.assert_array_equal(
        received, read_picture(tmp_path / "a.png", shape, cut)[np.newaxis]
    )
