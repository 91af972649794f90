import json
import shutil

import numpy as np
import pytest
from export.spoiled import spoil_float16
from training.finished import RECIPE
from training.linear import save_linear

from tfqkd.compat import keras, tf
from tfqkd.data import load
from tfqkd.export import ExportError
from tfqkd.fronts.tfmot.saved_models import load_model
from tfqkd.recipe.recipe import Recipe
from tfqkd.runtime import LitertModel
from tfqkd.training.results import Results
from tfqkd.training.run import run

# conv1 with its batch norm, conv2, its batch norm, conv3, its batch norm, logits; N filters, 10 classes.
PARAMETERS = {n: 11 * n + 18 * n**2 + 4 * n + 36 * n**2 + 4 * n + 20 * n + 10 for n in (2, 4)}


@pytest.fixture(scope="module")
def digits():
    return load("digits").test


def numpy_figures(path, split):
    """Accuracy, top-5 and loss of a saved model by plain counting."""
    logits = load_model(path).predict(split.images, verbose=0).astype(np.float64)
    of_label = logits[np.arange(len(split)), split.labels]
    ranks = (logits > of_label[:, None]).sum(axis=1)
    losses = np.log(np.exp(logits).sum(axis=1)) - of_label
    return (ranks < 1).mean(), (ranks < 5).mean(), losses.mean()


def directories(path):
    return {entry.name for entry in path.iterdir() if entry.is_dir()}


def untrained(directory, **settings):
    """A recipe that takes a saved linear student as it is: it runs at once."""
    save_linear(directory / "student.keras", seed=0)
    return RECIPE.changed(
        {
            "student": str(directory / "student.keras"),
            "teacher": "none",
            "bits": 32,
            "quantized.training.epochs": 0,
            "formats": (),
            **settings,
        }
    )


def test_the_results_are_those_of_the_saved_models(finished, digits):
    roles = ["float teacher", "float student", "ternary student, gradual coefficient"]
    models = finished.results.models
    assert [model.label for model in models] == roles
    assert [model.name for model in models] == ["cnn4", "cnn2", "cnn2"]
    assert [model.parameters for model in models] == [PARAMETERS[n] for n in (4, 2, 2)]
    # Of its four layers the two in the middle are ternary: 18n² and 36n² weights.
    assert models[-1].quantized_share == pytest.approx(54 * 2**2 / PARAMETERS[2])
    for model in models:
        accuracy, top5, loss = numpy_figures(finished.directory / model.model, digits)
        assert model.accuracy == accuracy
        assert model.top5 == top5
        assert model.loss == pytest.approx(loss, rel=1e-5)
    assert finished.results.class_names == tuple("0123456789")


def test_training_has_learned_something(finished):
    # Ten classes of equal size: guessing is right once in ten.
    assert finished.results.models[0].accuracy > 0.15


def test_the_quantized_student_is_ternary(finished):
    model = load_model(finished.model_path("ternary"))
    for name in ("conv2", "conv3"):
        kernel = model.get_layer(name).kernel.numpy()
        step = np.abs(kernel).max()
        assert set(np.unique(kernel)) == {-step, 0, step}


def test_the_exported_file_is_the_student(finished, digits):
    (report,) = finished.results.export
    assert (report.format, report.path) == ("litert-int8", "student-int8.tflite")
    file = LitertModel(finished.directory / "export" / report.path)
    student = load_model(finished.model_path("ternary"))
    expected = student.predict(digits.images[:64], verbose=0)
    np.testing.assert_allclose(file(digits.images[:64]), expected, atol=1e-4)
    assert report.images == 64
    assert report.bytes == (finished.directory / "export" / report.path).stat().st_size
    assert file.class_names == tuple("0123456789")


def test_the_directory_holds_all_that_was_promised(finished):
    names = {entry.name for entry in finished.directory.iterdir()}
    # Other tests may have evaluated the run, or asked for its page.
    later = {"evaluation.json", "confusion.png", "report.html", "figures", ".lock"}
    assert names - later == {
        "recipe.json",
        "results.json",
        "replicas.txt",
        "preset.json",
        "uses.json",
        "quantization.txt",
        "products",
        "export",
    }
    kept = Recipe.from_json((finished.directory / "recipe.json").read_text())
    assert kept == RECIPE.changed({"data.stream": "off"})
    assert Results.read(finished.directory) == finished.results
    assert "conv2" in (finished.directory / "quantization.txt").read_text()
    assert {name.split("-")[0] for name in directories(finished.products)} == {
        "teacher",
        "student",
        "quantized",
        "export",
        "measured",
    }


def test_a_format_that_fails_leaves_the_others_and_the_run_goes_on_without_it(
    tmp_path, no_training, monkeypatch
):
    recipe = untrained(tmp_path)
    both = recipe.changed(formats=("litert-float16", "litert-float32"))
    with monkeypatch.context() as spoiled:
        spoil_float16(spoiled)
        with pytest.raises(ExportError, match=r"litert-float16: .* leave what fails out of --form"):
            run(both, tmp_path / "run")
    exported = tmp_path / "run" / "export"
    assert [file.name for file in exported.iterdir()] == ["student-float32.tflite"]
    assert LitertModel(exported / "student-float32.tflite").class_names == tuple("0123456789")
    assert not (tmp_path / "run" / "results.json").exists()
    alone = recipe.changed(formats=("litert-float32",))
    assert len(run(alone, tmp_path / "run").export) == 1


@pytest.mark.slow
def test_a_compiled_run_trains_what_another_trains(tmp_path):
    for seed, name in enumerate(("student", "teacher")):
        save_linear(tmp_path / f"{name}.keras", seed, hidden=2)
    recipe = RECIPE.changed(
        {
            "data.train_examples": 256,
            "quantized.training.epochs": 1,
            "quantized.training.learning_rate": 1e-3,
            "quantize.step_update": "every_step",
        },
        student=str(tmp_path / "student.keras"),
        teacher=str(tmp_path / "teacher.keras"),
        formats=(),
    )
    start = load_model(tmp_path / "student.keras").get_layer("logits").kernel.numpy()
    ends = []
    for jit_compile in (False, True):
        path = tmp_path / f"run{jit_compile}"
        results = run(recipe.changed({"run.jit_compile": jit_compile}), path)
        model = load_model(path / results.models[-1].model)
        assert len(np.unique(model.get_layer("hidden1").kernel)) == 3
        ends.append(model.get_layer("logits").kernel.numpy())
    moved = np.abs(ends[0] - start).max()
    assert moved > 1e-3
    assert np.abs(ends[1] - ends[0]).max() < 0.01 * moved


@pytest.mark.slow
def test_half_precision_computes_in_it_and_keeps_float32_variables(tmp_path):
    recipe = RECIPE.changed(
        {
            "student.training.epochs": 0,
            "quantized.training.epochs": 1,
            "run.mixed_precision": "mixed_bfloat16",
        },
        teacher="none",
        schedule="constant",
    )
    results = run(recipe, tmp_path / "run")
    assert keras.mixed_precision.global_policy().name == "float32"
    model = load_model(tmp_path / "run" / results.models[-1].model)
    layer = model.get_layer("conv2")
    assert (layer.compute_dtype, layer.kernel.dtype) == ("bfloat16", tf.float32)
    assert model.get_layer("logits").compute_dtype == "float32"
    step = np.abs(layer.kernel.numpy()).max()
    assert set(np.unique(layer.kernel.numpy())) == {-step, 0, step}
    # The exported file computes in float32: it agrees with the model's values to bfloat16's 8 bits.
    images = load("digits").test.images[:32]
    file = LitertModel(tmp_path / "run" / "export" / "student-int8.tflite")
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(file(images), expected, atol=0.05 * np.abs(expected).max())


def test_a_folder_of_images_is_a_data_set(tmp_path):
    generator = np.random.default_rng(0)
    for role, count in (("train", 12), ("test", 5)):
        for label, name in enumerate(("blue", "green", "red")):
            folder = tmp_path / "data" / role / name
            folder.mkdir(parents=True)
            for index in range(count):
                image = generator.integers(0, 60, (6, 6, 3), dtype=np.uint8)
                image[..., 2 - label] += 180
                (folder / f"{index}.png").write_bytes(tf.io.encode_png(image).numpy())
    recipe = Recipe(
        {
            "student.training.epochs": 0,
            "quantized.training.epochs": 0,
            "training.batch_size": 12,
            "data.image_size": 8,
        },
        dataset=f"folder:{tmp_path / 'data'}",
        student="cnn2",
        teacher="none",
        bits=32,
        formats=(),
    )
    results = run(recipe, tmp_path / "run")
    assert results.class_names == ("blue", "green", "red")
    model = load_model(tmp_path / "run" / results.models[0].model)
    assert (model.input_shape, model.output_shape) == ((None, 8, 8, 3), (None, 3))
    split = load(recipe.data.dataset, image_size=8).test
    assert len(split) == 15
    right = model.predict(split.images, verbose=0).argmax(axis=1) == split.labels
    assert results.models[0].accuracy == right.mean()
    # The pixels are standardised with those of the training images.
    pixels = load(recipe.data.dataset, image_size=8).train.images.reshape(-1, 3).astype(np.float64)
    normalization = model.get_layer("standardization")
    np.testing.assert_allclose(np.ravel(normalization.mean), pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.ravel(normalization.variance), pixels.var(axis=0), rtol=1e-5)


class Watch(keras.callbacks.Callback):
    """Notes the epochs that it sees."""

    def __init__(self, limit=None):
        super().__init__()
        self.epochs, self.limit = [], limit

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, sorted(logs)))
        if epoch + 1 == self.limit:
            raise InterruptedError("given up")


@pytest.mark.slow
def test_callbacks_see_every_epoch_of_the_quantized_stage_alone(finished, tmp_path):
    products = tmp_path / "products"
    shutil.copytree(finished.products, products)
    recipe = RECIPE.changed(temperature=3.0, formats=())
    stopping = Watch(limit=1)
    with pytest.raises(InterruptedError, match="given up"):
        run(recipe, tmp_path / "run", products=products, callbacks=[stopping])
    assert [epoch for epoch, _ in stopping.epochs] == [0]
    assert not (tmp_path / "run" / "results.json").exists()
    seen, bars = Watch(), []

    class Bar(keras.callbacks.Callback):
        def __init__(self, *stage):
            super().__init__()
            bars.append(stage)

        def close(self):
            bars.append("closed")

    run(recipe, tmp_path / "run", products=products, callbacks=[seen], progress=Bar)
    epochs = [epoch for epoch, _ in seen.epochs]
    # The first try gave up before its epoch was kept.
    assert epochs == [0, 1]
    assert "coefficient" in seen.epochs[0][1]
    assert bars == [
        ("ternary student, gradual coefficient (cnn2), seed 0", 2, 1197 // 64, 64, 0),
        "closed",
    ]


def test_a_layer_table_for_programs_lies_beside_the_one_for_readers(finished):
    (product,) = finished.products.glob("quantized-*/quantization.json")
    layers = {layer["layer"]: layer for layer in json.loads(product.read_text())}
    model = load_model(finished.model_path("ternary"))
    for name in ("conv2", "conv3"):
        kernel = model.get_layer(name).kernel.numpy()
        assert layers[name]["zeros"] == pytest.approx((kernel == 0).mean())
        assert layers[name]["step"] == pytest.approx(np.abs(kernel).max())
    assert layers["logits"]["step"] is None
