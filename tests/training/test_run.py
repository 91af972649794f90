import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from export.spoiled import spoil_float16

from tfqkd.compat import keras, tf
from tfqkd.data import load
from tfqkd.export import ExportError
from tfqkd.runtime import LitertModel
from tfqkd.training.directory import RunDirectory
from tfqkd.training.recipe import Recipe
from tfqkd.training.run import run
from tfqkd.training.saved_models import load_model

from .finished import RECIPE
from .linear import save_linear

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
    return dataclasses.replace(
        RECIPE,
        student=str(directory / "student.keras"),
        teacher="none",
        bits=32,
        quantized_epochs=0,
        formats=(),
        **settings,
    )


def test_the_results_are_those_of_the_saved_models(finished, digits):
    roles = ["float teacher", "float student", "ternary student, gradual coefficient"]
    models = finished.results["models"]
    assert [model["role"] for model in models] == roles
    assert [model["name"] for model in models] == ["cnn4", "cnn2", "cnn2"]
    assert [model["parameters"] for model in models] == [PARAMETERS[n] for n in (4, 2, 2)]
    # Of its four layers the two in the middle are ternary: 18n² and 36n² weights.
    assert models[-1]["quantized_share"] == pytest.approx(54 * 2**2 / PARAMETERS[2])
    for model in models:
        accuracy, top5, loss = numpy_figures(finished.directory / model["model"], digits)
        assert model["accuracy"] == accuracy
        assert model["top5"] == top5
        assert model["loss"] == pytest.approx(loss, rel=1e-5)
    assert finished.results["class_names"] == list("0123456789")


def test_training_has_learned_something(finished):
    # Ten classes of equal size: guessing is right once in ten.
    assert finished.results["models"][0]["accuracy"] > 0.15


def test_the_quantized_student_is_ternary(finished):
    model = load_model(finished.model_path("ternary"))
    for name in ("conv2", "conv3"):
        kernel = model.get_layer(name).kernel.numpy()
        step = np.abs(kernel).max()
        assert set(np.unique(kernel)) == {-step, 0, step}


def test_the_exported_file_is_the_student(finished, digits):
    (report,) = finished.results["export"]
    assert (report["format"], report["path"]) == ("litert-int8", "student-int8.tflite")
    file = LitertModel(finished.directory / "export" / report["path"])
    student = load_model(finished.model_path("ternary"))
    expected = student.predict(digits.images[:64], verbose=0)
    np.testing.assert_allclose(file(digits.images[:64]), expected, atol=1e-4)
    assert report["images"] == 64
    assert report["bytes"] == (finished.directory / "export" / report["path"]).stat().st_size
    assert file.class_names == tuple("0123456789")


def test_the_directory_holds_all_that_was_promised(finished):
    names = {entry.name for entry in finished.directory.iterdir()}
    # Other tests may have evaluated the run, or asked for its page.
    later = {"evaluation.json", "confusion.png", "report.html", "figures", ".lock"}
    assert names - later == {
        "recipe.json",
        "results.json",
        "replicas.txt",
        "run.png",
        "quantization.txt",
        "products",
        "export",
    }
    assert Recipe.from_json((finished.directory / "recipe.json").read_text()) == RECIPE
    assert json.loads((finished.directory / "results.json").read_text()) == finished.results
    assert "conv2" in (finished.directory / "quantization.txt").read_text()
    assert {name.split("-")[0] for name in directories(finished.products)} == {
        "teacher",
        "student",
        "quantized",
        "export",
        "measured",
    }


def test_a_run_that_is_done_returns_its_results_at_once(finished, monkeypatch):
    monkeypatch.setattr("tfqkd.training.run.load_data", None)
    assert run(RECIPE, finished.directory) == finished.results
    # What leaves the result as it is does not make it another recipe.
    elsewhere = dataclasses.replace(RECIPE, data_dir="/elsewhere", jit_compile=True)
    assert run(elsewhere, str(finished.directory)) == finished.results


def test_another_recipe_on_the_same_directory_is_refused(finished):
    with pytest.raises(ValueError) as error:
        run(dataclasses.replace(RECIPE, temperature=3.0, bits=4), finished.directory)
    assert str(error.value) == (
        f"A run directory belongs to one recipe. Received: another one for {finished.directory}:\n"
        "  bits: 2 there, 4 given\n"
        "  temperature: 2.0 there, 3.0 given\n"
        "Give another --run_dir, or the recipe that is there."
    )
    assert run(RECIPE, finished.directory) == finished.results


def test_a_run_that_lost_only_its_results_trains_nothing(finished, tmp_path, no_training):
    results = run(RECIPE, tmp_path / "run", products=finished.products, command=["train", "a b"])
    expected = [dict(model) for model in finished.results["models"]]
    for model in [*results["models"], *expected]:
        del model["model"]
    assert results["models"] == expected
    assert results["export"] == finished.results["export"]
    assert (tmp_path / "run" / "command.txt").read_text() == (
        f"train 'a b'  # in {pathlib.Path.cwd()}\n"
    )
    assert not (tmp_path / "run" / "products").exists()


def test_another_version_of_the_package_takes_what_is_there(
    finished, tmp_path, monkeypatch, no_training
):
    before = directories(finished.products)
    for name in ("tfqkd.version.__version__", "tfqkd.__version__"):
        monkeypatch.setattr(name, "9.9.9")
    run(RECIPE, tmp_path / "run", products=finished.products)
    assert directories(finished.products) == before


def test_runs_that_share_products_train_teacher_and_student_once(finished, tmp_path, no_training):
    products = tmp_path / "products"
    shutil.copytree(finished.products, products)
    before = directories(products)
    recipe = dataclasses.replace(RECIPE, bits=3, quantized_epochs=0, formats=())
    results = run(recipe, tmp_path / "run", products=products)
    made = sorted(name.split("-")[0] for name in directories(products) - before)
    assert made == ["measured", "quantized"]
    for model, was in zip(results["models"][:2], finished.results["models"][:2], strict=True):
        assert model == {**was, "model": model["model"]}
        path = (tmp_path / "run" / model["model"]).resolve()
        assert path == (products / was["model"].removeprefix("products/")).resolve()
    assert results["models"][2]["role"] == "3-bit student, gradual coefficient"
    assert results["export"] == []
    assert not (tmp_path / "run" / "export").exists()
    assert (tmp_path / "run" / "run.png").exists()
    kernel = load_model(tmp_path / "run" / results["models"][2]["model"]).get_layer("conv3").kernel
    assert 3 < len(np.unique(kernel)) <= 7


def test_a_teacher_of_other_classes_is_refused_before_any_training(tmp_path, no_training):
    save_linear(tmp_path / "seven.keras", seed=0, classes=7)
    recipe = dataclasses.replace(RECIPE, teacher=str(tmp_path / "seven.keras"))
    with pytest.raises(ValueError, match=r"must fit the data set digits: .*10 classes.*\(7,\)"):
        run(recipe, tmp_path / "run")


def test_a_run_that_was_refused_leaves_its_directory_to_another_recipe(tmp_path, no_training):
    for wrong in ({"dataset": "folder:/no/such/folder"}, {"layer_bits": ("conv9=4",)}):
        with pytest.raises(ValueError, match=r"conv9|folder"):
            run(dataclasses.replace(RECIPE, **wrong), tmp_path / "run")
    assert len(run(untrained(tmp_path), tmp_path / "run")["models"]) == 2


def test_a_format_that_fails_leaves_the_others_and_the_run_goes_on_without_it(
    tmp_path, no_training, monkeypatch
):
    recipe = untrained(tmp_path)
    both = dataclasses.replace(recipe, formats=("litert-float16", "litert-float32"))
    with monkeypatch.context() as spoiled:
        spoil_float16(spoiled)
        with pytest.raises(ExportError, match=r"litert-float16: .* leave what fails out of --form"):
            run(both, tmp_path / "run")
    exported = tmp_path / "run" / "export"
    assert [file.name for file in exported.iterdir()] == ["student-float32.tflite"]
    assert LitertModel(exported / "student-float32.tflite").class_names == tuple("0123456789")
    assert not (tmp_path / "run" / "results.json").exists()
    alone = dataclasses.replace(recipe, formats=("litert-float32",))
    assert len(run(alone, tmp_path / "run")["export"]) == 1


def test_saved_teachers_and_student_are_measured_one_by_one(tmp_path, digits, no_training):
    paths = [tmp_path / f"{name}.keras" for name in ("first", "second", "student")]
    for seed, path in enumerate(paths):
        save_linear(path, seed)
    recipe = dataclasses.replace(
        RECIPE,
        teacher=f"{paths[0]},{paths[1]}",
        student=str(paths[2]),
        bits=32,
        quantized_epochs=0,
        formats=(),
    )
    models = run(recipe, tmp_path / "run")["models"]
    assert [model["role"] for model in models] == [
        "float teacher 1",
        "float teacher 2",
        "float student",
        "float student, gradual coefficient",
    ]
    for model, path in zip(models, [*paths, paths[2]], strict=True):
        assert model["accuracy"] == numpy_figures(path, digits)[0]
    assert [(tmp_path / "run" / model["model"]).resolve() for model in models[:3]] == paths
    assert {name.split("-")[0] for name in directories(tmp_path / "run" / "products")} == {
        "quantized",
        "measured",
    }


@pytest.mark.slow
def test_a_compiled_run_trains_what_another_trains(tmp_path):
    for seed, name in enumerate(("student", "teacher")):
        save_linear(tmp_path / f"{name}.keras", seed, hidden=2)
    recipe = dataclasses.replace(
        RECIPE,
        student=str(tmp_path / "student.keras"),
        teacher=str(tmp_path / "teacher.keras"),
        train_examples=256,
        quantized_epochs=1,
        quantized_learning_rate=1e-3,
        step_update="every_step",
        formats=(),
    )
    start = load_model(tmp_path / "student.keras").get_layer("logits").kernel.numpy()
    ends = []
    for jit_compile in (False, True):
        path = tmp_path / f"run{jit_compile}"
        results = run(dataclasses.replace(recipe, jit_compile=jit_compile), path)
        model = load_model(path / results["models"][-1]["model"])
        assert len(np.unique(model.get_layer("hidden1").kernel)) == 3
        ends.append(model.get_layer("logits").kernel.numpy())
    moved = np.abs(ends[0] - start).max()
    assert moved > 1e-3
    assert np.abs(ends[1] - ends[0]).max() < 0.01 * moved


def test_a_run_that_was_begun_on_two_devices_does_not_go_on_with_one(tmp_path, no_training):
    recipe = untrained(tmp_path)
    directory = RunDirectory(tmp_path / "run", recipe)
    directory.begin(replicas=2)
    with pytest.raises(ValueError, match="2 there, 1 now"):
        run(recipe, tmp_path / "run")
    # What is done is shown wherever it is asked for.
    model = {"role": "float student", "model": "m.keras", "name": "m", "parameters": 1}
    results = {"models": [{**model, "accuracy": 0.5, "top5": 1, "loss": 1.5}], "export": []}
    directory.write_results(results)
    assert run(recipe, tmp_path / "run") == results


@pytest.mark.slow
def test_half_precision_computes_in_it_and_keeps_float32_variables(tmp_path):
    recipe = dataclasses.replace(
        RECIPE,
        teacher="none",
        student_epochs=0,
        quantized_epochs=1,
        mixed_precision="mixed_bfloat16",
        schedule="constant",
    )
    results = run(recipe, tmp_path / "run")
    assert keras.mixed_precision.global_policy().name == "float32"
    model = load_model(tmp_path / "run" / results["models"][-1]["model"])
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
        dataset=f"folder:{tmp_path / 'data'}",
        student="cnn2",
        teacher="none",
        student_epochs=0,
        bits=32,
        quantized_epochs=0,
        batch_size=12,
        image_size=8,
        formats=(),
    )
    results = run(recipe, tmp_path / "run")
    assert results["class_names"] == ["blue", "green", "red"]
    model = load_model(tmp_path / "run" / results["models"][0]["model"])
    assert (model.input_shape, model.output_shape) == ((None, 8, 8, 3), (None, 3))
    split = load(recipe.dataset, image_size=8).test
    assert len(split) == 15
    right = model.predict(split.images, verbose=0).argmax(axis=1) == split.labels
    assert results["models"][0]["accuracy"] == right.mean()
    # The pixels are standardised with those of the training images.
    pixels = load(recipe.dataset, image_size=8).train.images.reshape(-1, 3).astype(np.float64)
    normalization = model.get_layer("standardization")
    np.testing.assert_allclose(np.ravel(normalization.mean), pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.ravel(normalization.variance), pixels.var(axis=0), rtol=1e-5)


def test_a_train_set_is_the_asked_subset(tmp_path, no_training):
    data = load("digits", train_examples=100, validation_split=0.1)
    run(untrained(tmp_path, train_examples=100, validation_split=0.1), tmp_path / "run")
    (product,) = (tmp_path / "run" / "products").glob("quantized-*/product.json")
    assert json.loads(product.read_text())["data"] == data.fingerprint
    assert len(data.train) == 100


def test_what_lies_beside_a_saved_model_is_left_alone(tmp_path, no_training):
    recipe = untrained(tmp_path)
    (tmp_path / "history.csv").write_text("epoch,note\n1,mine\n")
    assert len(run(recipe, tmp_path / "run")["models"]) == 2


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
    recipe = dataclasses.replace(RECIPE, temperature=3.0, formats=())
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


def test_data_that_is_given_is_not_loaded_again(tmp_path, monkeypatch):
    from tfqkd.training import run as module

    recipe = untrained(tmp_path)
    data = module.load_data(recipe)
    monkeypatch.setattr(module, "load_data", lambda recipe: pytest.fail("loaded again"))
    with_data = run(recipe, tmp_path / "with", data=data)
    monkeypatch.undo()
    without = run(recipe, tmp_path / "without", products=tmp_path / "with" / "products")
    assert with_data["models"][-1]["loss"] == without["models"][-1]["loss"]


def test_a_layer_table_for_programs_lies_beside_the_one_for_readers(finished):
    (product,) = finished.products.glob("quantized-*/quantization.json")
    layers = {layer["layer"]: layer for layer in json.loads(product.read_text())}
    model = load_model(finished.model_path("ternary"))
    for name in ("conv2", "conv3"):
        kernel = model.get_layer(name).kernel.numpy()
        assert layers[name]["zeros"] == pytest.approx((kernel == 0).mean())
        assert layers[name]["step"] == pytest.approx(np.abs(kernel).max())
    assert layers["logits"]["step"] is None
