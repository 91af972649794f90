"""What does not load as a model is named, with what to do; and where the advice is followed, it helps."""

import json
import zipfile

import numpy as np
import pytest
from training.linear import save_linear

import tfqkd
from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.saved_models import load_model
from tfqkd.recipe.recipe import Recipe

RULE = (
    "A model must be a saved Functional or Sequential tf_keras model (.keras, .h5 or SavedModel). "
)


class Own(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def with_layer(layer):
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(layer(inputs))))


def refused(path):
    with pytest.raises(ValueError) as error:
        load_model(path)
    said = str(error.value)
    begin = f"{RULE}Received: {path}, which does not load: "
    assert said.startswith(begin)
    assert len(said.splitlines()) == 1 and len(said) < 700
    return said.removeprefix(begin)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_class_of_the_users_own_is_named_and_loads_where_it_is_registered(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    with_layer(Own(name="own")).save(path)
    said = refused(path)
    assert "Own, which is not of Keras. If it is of your own code, register it with" in said
    registered = type("Own", (Own,), {"__module__": __name__})
    keras.saving.register_keras_serializable("tests_of_advice")(registered)
    try:
        model = with_layer(registered(name="own"))
        model.save(path)
        found = load_model(path)
        pixels = np.ones((1, 8, 8, 1), np.float32)
        np.testing.assert_array_equal(found(pixels), model(pixels))
        recipe = Recipe(
            {"quantized.training.epochs": 0},
            dataset="digits",
            student=str(path),
            teacher="none",
            bits=32,
            formats=(),
        )
        if suffix == ".keras":
            assert len(tfqkd.run(recipe, tmp_path / "run").models) == 2
    finally:
        keras.saving.get_custom_objects().pop("tests_of_advice>Own")
    assert "Own, which is not of Keras" in refused(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_code_of_a_lambda_is_not_printed(tmp_path, suffix):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation=lambda x: x)(inputs))
    model.save(tmp_path / f"model{suffix}")
    said = refused(tmp_path / f"model{suffix}")
    assert "it holds a Lambda, which is code. Take a layer or function of Keras" in said


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_function_of_the_users_own_is_named(tmp_path, suffix):
    def doubled(x):
        return 2 * x

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation=doubled)(inputs))
    model.save(tmp_path / f"model{suffix}")
    said = refused(tmp_path / f"model{suffix}")
    assert "it names doubled, which is not of Keras" in said


def test_a_constant_that_is_a_list_is_no_lambda(tmp_path):
    inputs = keras.Input((4,))
    bias = keras.initializers.Constant([1.0, 2.0])
    model = keras.Model(inputs, keras.layers.Dense(2, bias_initializer=bias)(inputs))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "model.keras").get_weights()[1], [1, 2])


def write_keras3(path):
    save_linear(path, seed=0)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["metadata.json"] = json.dumps({"keras_version": "3.15.1"}).encode()
    config = json.loads(content["config.json"])
    config["class_name"] = "SequentialOfKeras3"
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def write_graph(path):
    module = tf.Module()
    module.serve = tf.function(lambda x: x, input_signature=[tf.TensorSpec([None, 4])])
    tf.saved_model.save(module, str(path), signatures=module.serve)


def write_weights(path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path)


def write_wrapped(path):
    save_linear(path.with_name("float.keras"), seed=0, hidden=2)
    tfqkd.quantize_model(load_model(path.with_name("float.keras"))).save(path)


KINDS = {
    "missing": ("none.h5", lambda path: None, "it does not exist. Check the path."),
    "text": ("model.keras", lambda path: path.write_text("text"), "Keras has not saved it"),
    "a picture": (
        "cat.png",
        lambda path: path.write_bytes(b"\x89PNG"),
        "Keras has not saved it",
    ),
    "exported": (
        "student.tflite",
        lambda path: path.write_bytes(b"TFL3"),
        "it is an exported file",
    ),
    "a folder": ("folder", lambda path: path.mkdir(), "it is a folder, and no SavedModel."),
    "weights": ("model.weights.h5", write_weights, "it holds weights without a model."),
    "weights by Keras": ("weights.h5", write_weights, "it holds weights without a model."),
    "a graph": ("graph", write_graph, "it is a SavedModel without Keras' layers"),
    "Keras 3": (
        "model.keras",
        write_keras3,
        "it was saved by Keras 3.15.1. Build the model under",
    ),
    "wrapped": (
        "model.h5",
        write_wrapped,
        "it is still wrapped for quantization. Save tfqkd.strip",
    ),
}


@pytest.mark.parametrize(("name", "write", "said"), KINDS.values(), ids=KINDS)
def test_what_is_no_model_is_told_by_its_kind(tmp_path, name, write, said):
    write(tmp_path / name)
    assert refused(tmp_path / name).startswith(said)


def test_the_graph_of_a_saved_model_is_a_part_of_it(tmp_path):
    save_linear(tmp_path / "model", seed=0)
    load_model(tmp_path / "model")
    said = refused(tmp_path / "model" / "saved_model.pb")
    assert said == "it is a part of a SavedModel. Give the folder that holds it."
