import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import tfqkd
from tfqkd.compat import keras
from tfqkd.export import ExportError, export
from tfqkd.export.keras_file import require_own_layers

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
        metadata = json.loads(archive.read("metadata.json"))["tfqkd"]
    assert metadata["class_names"] == list(classifier.CLASS_NAMES)


def test_a_tensor_that_is_given_by_name_is_no_lambda():
    inputs = keras.Input((3, 4))
    attended = keras.layers.MultiHeadAttention(2, 4)(inputs, value=inputs)
    require_own_layers(keras.Model(inputs, attended))


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "student.keras").mkdir()
    with pytest.raises(ExportError, match="must name a file"):
        export(classifier.build()[0], tmp_path, "keras")


@keras.saving.register_keras_serializable("tests")
class Registered(keras.layers.Layer):
    pass


class Unregistered(keras.layers.Layer):
    pass


@keras.saving.register_keras_serializable("tests")
def tripled(x):
    return 3 * x


class Local(keras.layers.Layer):
    __module__ = "__main__"


def with_own_code(kind):
    layers = {
        "registered": Registered(name="own"),
        "unregistered": Unregistered(name="own"),
        "of a script": Local(name="own"),
        "function": keras.layers.Dense(5, activation=tripled, name="own"),
        "lambda": keras.layers.Lambda(lambda x: 2 * x, name="own"),
    }
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(3)(layers[kind](keras.layers.Flatten()(inputs)))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        # What a module holds may be installed elsewhere too: another process is asked.
        pytest.param("registered", "with the class Registered of your own", marks=pytest.mark.slow),
        pytest.param(
            "unregistered", "with the class Unregistered of your own", marks=pytest.mark.slow
        ),
        ("of a script", "with the class Local of your own"),
        ("function", "with the function tripled of your own"),
        ("lambda", "which holds a Lambda"),
    ],
)
def test_code_of_the_users_own_is_named_with_a_format_that_holds_it(tmp_path, kind, named):
    with keras.utils.custom_object_scope({"Local": Local, "Unregistered": Unregistered}):
        model = with_own_code(kind)
        with pytest.raises(ExportError) as error:
            export(model, tmp_path, "keras")
        assert f"Received: layer 'own', {named}. Nothing was written." in str(error.value)
        assert list(tmp_path.iterdir()) == []
        if kind == "registered":
            # The advice is good.
            (report,) = export(model, tmp_path, "saved_model")
            assert report.agreement == 1.0
