import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

from tfqkd.compat import keras
from tfqkd.export import to_litert

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "classify_with_litert.py"


def test_a_two_bit_file_is_classified_by_litert_alone(tmp_path):
    # Class "red" sums the red channel, and so on.
    dense = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), dense])
    dense.kernel.assign(0.01 * np.tile(np.eye(3), (4, 1)))
    report = to_litert(model, tmp_path / "a.tflite", class_names=("red", "green", "blue"))
    assert [kernel.bits for kernel in report.quantized] == [2]
    for name, colour in (("a", (9, 99, 5)), ("b", (50, 20, 60))):
        Image.new("RGB", (5, 4), colour).save(tmp_path / f"{name}.png")
    code = (
        "import runpy, sys\n"
        "for name in ('tfqkd', 'tensorflow', 'tf_keras'): sys.modules[name] = None\n"
        "sys.argv[0:1] = []; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, EXAMPLE, report.path, "a.png", "b.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.splitlines() == ["a.png green", "b.png blue"]
