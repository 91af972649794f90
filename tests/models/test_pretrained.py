"""The networks that come with tfqkd are what their model cards and the results say."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.accelerated_pages import SHIPPED, read
from benchmarks.integer_students import FIGURES_FILE
from tfqkd import runtime
from tfqkd.core.steps import optimal_step
from tfqkd.data import load
from tfqkd.data.cifar import CLASS_NAMES
from tfqkd.export.tflite import schema
from tfqkd.export.tflite_reading import found_kernels, read_back
from tfqkd.models import load_pretrained, pretrained_file, pretrained_names
from tfqkd.models.pretrained import DIRECTORY
from tfqkd.reporting.measurement import run_file
from tfqkd.runtime.evaluation import evaluate_logits
from tfqkd.runtime.widening import widen

ROOT = pathlib.Path(__file__).resolve().parents[2]
FULL_LENGTH = ROOT / "results" / "accelerator"
INTEGERS = ROOT / "results" / "integers"
STUDENTS = [name for name in pretrained_names() if pretrained_file(name).suffix == ".tflite"]
OF_INTEGERS = [name for name in STUDENTS if "_w2a8_" in name]
LARGEST = 5_000_000


def dataset(name: str) -> str:
    return name.rsplit("_", 1)[1]


def results(name: str) -> dict:
    """What the file has on the test images."""
    if name in OF_INTEGERS:
        return json.loads((INTEGERS / dataset(name) / FIGURES_FILE).read_text())
    return json.loads((FULL_LENGTH / dataset(name) / "files.json").read_text())[name]


def trained_accuracy(name: str) -> float:
    """What was measured after the last epoch, on the device that trained."""
    if name in OF_INTEGERS:
        return results(name)["trained_accuracy"]
    return read(FULL_LENGTH / dataset(name), results(name)["stage"])["accuracy"]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("uint8")


def test_every_ternary_student_comes_with_its_float_start_its_teacher_and_its_file_of_integers():
    assert set(pretrained_names()) == {
        f"{network}_{data}" for data in CLASS_NAMES for network in (*SHIPPED[data], "resnet20_w2a8")
    }


@pytest.mark.parametrize("name", pretrained_names())
def test_the_model_card_tells_the_files_size_and_the_measured_accuracy(name):
    file, measured = pretrained_file(name), results(name)
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    assert f"\n---\n# {name}\n" in card
    assert f"`{file.name}`, {file.stat().st_size:,} bytes" in card
    assert file.stat().st_size < LARGEST
    assert f"reaches **{100 * trained_accuracy(name):.2f} %** on the test images" in card
    assert f"{100 * measured['accuracy']:.2f} %" in card
    assert f"| parameters | {measured['parameters']:,}" in card
    for link in re.findall(r"\]\(([^)]+)\)", card):
        assert (file.parent / link).exists(), link


@pytest.mark.parametrize("name", pretrained_names())
def test_a_model_hub_reads_the_header_of_a_card(name):
    hub = pytest.importorskip(
        "huggingface_hub", reason="needs huggingface_hub: pip install '.[dev]'"
    )
    card = hub.ModelCard.load(pretrained_file(name).with_suffix(".md"))
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "tfqkd")
    (result,) = card.data.eval_results
    assert (card.data.model_name, result.dataset_type) == (name, dataset(name))
    assert result.metric_value == round(100 * trained_accuracy(name), 2)


@pytest.mark.parametrize("name", pretrained_names())
def test_a_file_is_what_was_trained_within_0_15_points(name):
    # What a GPU trained in bfloat16 is measured in float32 here; whole images of 10,000.
    assert round(1e4 * abs(results(name)["accuracy"] - trained_accuracy(name))) <= 15


@pytest.mark.parametrize("name", sorted(set(STUDENTS) - set(OF_INTEGERS)))
def test_a_student_has_the_measured_share_of_ternary_weights(name):
    kernels = found_kernels(read_back(pretrained_file(name)))
    codes = [kernel.constants[0] for kernel in kernels if kernel.constants[0].bits == 2]
    share = sum(np.prod(code.shape) for code in codes) / results(name)["parameters"]
    assert share == pytest.approx(results(name)["quantized_share"])


@pytest.mark.parametrize("name", OF_INTEGERS)
def test_a_network_of_integers_has_the_share_of_ternary_weights_and_little_loss(name):
    model = read_back(pretrained_file(name))
    tensors = model.subgraphs[0].tensors
    held = [
        model.buffers[each.buffer].data for each in tensors if each.type == schema.TensorType.INT8
    ]
    codes = [np.asarray(data).view(np.int8) for data in held if data is not None]
    ternary = [each.size for each in codes if np.unique(each).tolist() == [-64, 0, 64]]
    found = results(name)
    assert sum(ternary) / found["parameters"] == pytest.approx(found["quantized_share"])
    # 0.3 points, and what 10,000 images of which some percent change sides leave to chance.
    assert found["start_accuracy"] - found["accuracy"] < 0.006
    assert found["start"] in pretrained_names() and found["teacher"] in pretrained_names()


@pytest.mark.parametrize("name", OF_INTEGERS)
def test_a_packed_network_is_a_quarter_and_the_same(name):
    whole = pretrained_file(name)
    packed = whole.with_suffix(".packed").read_bytes()
    assert len(packed) < whole.stat().st_size / 3
    assert f"`{name}.packed`, {len(packed):,} bytes" in whole.with_suffix(".md").read_text("utf-8")
    assert widen(packed) == whole.read_bytes()


def test_a_network_of_integers_is_not_trained_on():
    with pytest.raises(ValueError, match=r"Load 'resnet20_ternary_cifar10', and quantize it with"):
        load_pretrained("resnet20_w2a8_cifar10", trainable=True)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_knows_the_names_of_its_classes(name):
    assert load_pretrained(name).class_names == CLASS_NAMES[dataset(name)]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_loads_without_tensorflow(name):
    program = (
        "import sys, tfqkd; "
        f"model = tfqkd.models.load_pretrained('{name}'); "
        "print(len(model.class_names), 'tensorflow' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == [str(len(CLASS_NAMES[dataset(name)])), "False"]


@pytest.mark.parametrize("name", pretrained_names())
def test_a_network_takes_bytes_and_floats_to_the_same_logits(name, images):
    model = load_pretrained(name)
    logits = np.asarray(model(images))
    assert logits.shape == (8, len(CLASS_NAMES[dataset(name)]))
    np.testing.assert_allclose(logits, model(images.astype("float32")), rtol=1e-5, atol=1e-4)


def test_an_unknown_name_is_one_message():
    with pytest.raises(
        ValueError, match=r"`name` must be one of .*resnet20_ternary_cifar10.* Received: name='x'"
    ):
        load_pretrained("x")


def test_a_file_can_be_loaded_on_a_device(images):
    file = pretrained_file("resnet20_ternary_cifar10")
    np.testing.assert_array_equal(runtime.load(file)(images), load_pretrained(file.stem)(images))


@pytest.mark.parametrize("name", [name for name in pretrained_names() if "ternary" in name])
def test_a_student_to_train_on_has_the_codes_and_logits_of_its_file(name, images):
    model = load_pretrained(name, trainable=True)
    np.testing.assert_allclose(model(images), load_pretrained(name)(images), rtol=1e-4, atol=1e-4)
    kernels = [
        variable.numpy() for variable in model.trainable_variables if len(variable.shape) == 4
    ]
    ternary = [kernel for kernel in kernels if len(np.unique(kernel)) == 3]
    assert sum(kernel.size for kernel in ternary) == pytest.approx(
        results(name)["quantized_share"] * results(name)["parameters"]
    )
    for kernel in ternary:
        # What is quantized again keeps its step, so its codes too, bit for bit.
        step = optimal_step(kernel, 2).astype("float32").item()
        np.testing.assert_array_equal(np.unique(kernel), [-step, 0, step])


KERAS_3 = """
import sys
sys.modules["tf_keras"] = sys.modules["tensorflow_model_optimization"] = None
import keras
import numpy as np
import tfqkd
tfqkd.models.build("cnn4", (8, 8, 1), 3, mean=[120.0], std=[60.0], keras=keras)
images = np.load("images.npy").astype("float32")
for name in sys.argv[1:]:
    model = tfqkd.models.load_pretrained(name, trainable=True, keras=3)
    assert type(model).__module__.startswith("keras."), type(model)
    np.save(name, model.predict(images, verbose=0))
assert not {"tfqkd.compat", "tensorflow"} & set(sys.modules)
"""


@pytest.mark.slow
def test_networks_of_keras_3_compute_what_those_of_tf_keras_do(images, tmp_path):
    pytest.importorskip("jax", reason="needs jax: pip install '.[dev]'")
    names = sorted(file.stem for file in DIRECTORY.glob("*.keras"))
    np.save(tmp_path / "images.npy", images)
    child = [sys.executable, "-c", KERAS_3, *names]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    subprocess.run(child, cwd=tmp_path, env=environment, check=True)
    for name in names:
        expected = np.asarray(load_pretrained(name, trainable=True)(images))
        np.testing.assert_allclose(
            np.load(tmp_path / f"{name}.npy"), expected, rtol=1e-4, atol=1e-4
        )


def test_there_are_two_kerases():
    with pytest.raises(ValueError, match=r"`keras` must be 2 or 3\. Received: keras=4"):
        load_pretrained("resnet20_cifar10", keras=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", pretrained_names())
def test_a_file_has_the_measured_accuracy_on_all_test_images(name):
    try:
        data = load(dataset(name))
    except FileNotFoundError:
        pytest.skip(
            f"{dataset(name)} is not in the default TFDS folder, or where TFDS_DATA_DIR says"
        )
    figures = evaluate_logits(run_file(pretrained_file(name), data.test.images), data.test.labels)
    assert len(data.test) == 10_000
    assert figures.accuracy == pytest.approx(results(name)["accuracy"], abs=1e-4)
