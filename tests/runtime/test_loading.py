import subprocess
import sys

import numpy as np
import pytest

import tfqkd
from tfqkd.runtime import LitertModel, load


def test_a_file_becomes_a_function_with_the_shapes_and_names_of_its_signature(linear_file):
    model = tfqkd.export.load(linear_file.path, threads=1)
    assert isinstance(model, LitertModel)
    assert model.inputs == {"images": (None, 4, 3, 2)}
    assert model.outputs == {"logits": (None, 3)}
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 2), np.uint8)
    np.testing.assert_allclose(
        model(images=pixels), linear_file.logits(pixels), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", ["saved_model", "student.keras", "student"])
def test_files_for_tensorflow_are_refused_with_the_way_to_load_them(tmp_path, name):
    with pytest.raises(ValueError, match=rf"Received: .*{name}\. Load a SavedModel with tf"):
        load(tmp_path / name)


def test_importing_and_loading_take_less_than_half_a_second_without_tensorflow(linear_file):
    code = (
        "import time; start = time.process_time(); import tfqkd.export, sys; "
        "tfqkd.export.load(sys.argv[1]); print(time.process_time() - start); "
        "assert not {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(linear_file.path)]
    # The processor's time, and the best of three: how busy the machine is says nothing.
    times = [
        float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(3)
    ]
    assert min(times) < 0.5
