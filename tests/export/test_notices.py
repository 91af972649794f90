import subprocess
import sys

import pytest

from tfqkd.export.verification import child_environment

_PROGRAM = """
import os, sys
import tfqkd
from tfqkd.compat import keras
from tfqkd.export import to_litert, to_onnx, to_saved_model
model = tfqkd.quantize_model(tfqkd.models.build("cnn2", (8, 8, 1), 3), tfqkd.TernaryScheme())
for stream in (sys.stdout, sys.stderr):
    print("begin", file=stream, flush=True)
for write, name in ((to_litert, "a.tflite"), (to_saved_model, "a"), (to_onnx, "a.onnx")):
    write(model, os.path.join(sys.argv[1], name))
"""


@pytest.mark.slow
def test_python_exports_print_nothing(tmp_path):
    environment = child_environment()
    # As in a program that knows none of these.
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        environment.pop(name, None)
    child = subprocess.run(
        [sys.executable, "-c", _PROGRAM, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "begin\n"
    assert child.stderr.partition("begin\n")[2] == ""
    assert {path.name for path in tmp_path.iterdir()} == {"a.tflite", "a", "a.onnx"}
