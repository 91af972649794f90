import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import tfqkd
from tfqkd.export import ExportError, export

from . import classifier


@pytest.mark.slow
def test_the_stripped_model_loads_without_tfqkd_and_computes_the_same(tmp_path):
    quantized = tfqkd.quantize_model(classifier.build()[0], tfqkd.TernaryScheme())
    (report,) = export(quantized, tmp_path, "keras", class_names=classifier.CLASS_NAMES)
    images = classifier.pixels(3)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys; sys.modules['tfqkd'] = sys.modules['tensorflow_model_optimization'] = None\n"
        "import numpy as np, tf_keras\n"
        f"model = tf_keras.models.load_model({report.path!r})\n"
        f"np.save({str(tmp_path / 'logits.npy')!r}, model(np.load({str(tmp_path / 'images.npy')!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    logits = np.load(tmp_path / "logits.npy")
    expected = quantized(images, training=False).numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    with zipfile.ZipFile(report.path) as archive:
        metadata = json.loads(archive.read("tfqkd.json"))
    assert metadata["class_names"] == list(classifier.CLASS_NAMES)


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "student.keras").mkdir()
    with pytest.raises(ExportError, match="must name a file"):
        export(classifier.build()[0], tmp_path, "keras")
