import pathlib

import numpy as np

from tfqkd.fronts.tfmot.teaching import map_logits


def test_kept_logits_are_what_the_file_holds_on_the_processor(tmp_path):
    values = np.random.default_rng(0).normal(0, 30, (23, 3)).astype("<f2")
    values.tofile(tmp_path / "logits.f16")
    kept = map_logits(tmp_path / "logits.f16", 23, 3)
    assert kept.device.endswith("CPU:0")
    np.testing.assert_array_equal(kept.numpy(), values)


def test_what_is_large_is_mapped_from_its_file_not_copied(tmp_path):
    """TensorFlow itself copies what is below 10 MiB."""
    np.ones((6000, 1000), "<f2").tofile(tmp_path / "logits.f16")
    kept = map_logits(tmp_path / "logits.f16", 6000, 1000)
    assert str(tmp_path / "logits.f16") in pathlib.Path("/proc/self/maps").read_text()
    assert kept.shape == (6000, 1000)
