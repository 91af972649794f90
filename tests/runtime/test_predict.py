import subprocess
import sys

import numpy as np
import pytest

from tfqkd.runtime import predict


def test_a_child_process_writes_logits_and_imports_no_tensorflow(linear_file, tmp_path):
    images = np.random.default_rng(2).uniform(0, 255, (70, 4, 3, 2)).astype(np.float32)
    np.savez(tmp_path / "in.npz", images=images)
    arguments = [linear_file.path, tmp_path / "in.npz", tmp_path / "out.npz"]
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "tfqkd.runtime.predict",
        *map(str, arguments),
    ]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip() for line in child.stderr.splitlines()}
    assert {"numpy", "tfqkd.runtime.loading"} <= imported
    assert not {"tensorflow", "tf_keras", "keras", "tfqkd.compat"} & imported
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        logits = arrays["logits"]
    np.testing.assert_allclose(logits, linear_file.logits(images), rtol=1e-5, atol=1e-5)


def test_other_arguments_print_the_usage():
    with pytest.raises(SystemExit, match=r"Usage: .* \[--direct\] MODEL INPUT.npz OUTPUT.npz"):
        predict.main(["model.tflite"])
