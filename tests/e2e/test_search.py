"""A search for input that ends in somebody else's traceback: over recipes and over model topologies."""

import contextlib
import io
import json
import pathlib
import traceback

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from training.staged import Staged

import tfqkd
from tfqkd.cli import train
from tfqkd.compat import keras, tf
from tfqkd.data.images import ImageData, Split
from tfqkd.export.verification import ExportError
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.strategy import RunStrategy
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.products import Products

STRATEGY = RunStrategy(tf.distribute.get_strategy())
PACKAGE = pathlib.Path(tfqkd.__file__).parent
NUMBERS = ["0", "-1", "1e400", "nan", "1e-300", "7", "9" * 30, "", " ", "0x10", "١", "1_0", "½"]
TEXTS = [
    *NUMBERS,
    "none",
    ",",
    "=",
    "a=b",
    "cnn",
    "cnn0",
    "wrn20x",
    "resnet-1",
    "/",
    "\0",
    "é" * 99,
    "[",
]


class LoadedTensorFlow(BaseException):
    """The command found nothing wrong before the work begins."""


@hypothesis.given(
    st.dictionaries(
        st.sampled_from(list(Recipe.settings())),
        st.sampled_from(TEXTS) | st.text(max_size=8),
        min_size=1,
    )
)
@hypothesis.settings(max_examples=300)
def test_no_flags_end_in_a_traceback(tmp_path_factory, values):
    def stop(version):
        raise LoadedTensorFlow

    directory = tmp_path_factory.getbasetemp() / "never"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfqkd.cli.train.load_keras", stop)
        flags = [f"--{name}={value}" for name, value in values.items()]
        said = io.StringIO()
        with contextlib.suppress(LoadedTensorFlow), contextlib.redirect_stderr(said):
            assert train.main(["train", *flags, f"--run_dir={directory}"]) in (1, 2)
            # That a value is no number, no switch or no choice is said by absl.
            assert "Received: " in said.getvalue() or "error: flag --" in said.getvalue()
    assert not directory.exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@hypothesis.given(JSON | st.dictionaries(st.sampled_from(list(Recipe.settings())), JSON))
@hypothesis.example({"temperature": 10**400})
@hypothesis.example({"student": "cnn" + "9" * 5000})
@hypothesis.example({"quantize.layer_bits": ["a{99999999999}=4"]})
@hypothesis.settings(max_examples=100)
def test_no_recipe_of_wrong_types_ends_in_a_traceback(value):
    try:
        recipe = Recipe.from_json(json.dumps(value))
    except ValueError as error:
        require_ours(error)
    else:
        assert Recipe.from_json(recipe.to_json()) == recipe


def layers(draw):
    """Draws a layer, sensible or not."""
    size = draw(st.integers(1, 3))
    kind = draw(
        st.sampled_from(
            ["Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Dense", "Flatten",
             "BatchNormalization", "LayerNormalization", "ReLU", "PReLU", "Dropout", "MaxPooling2D",
             "GlobalAveragePooling2D", "Softmax", "ZeroPadding2D", "Reshape", "Embedding", "LSTM"]
        )
    )  # fmt: skip
    arguments = {
        "Conv2D": {"filters": size, "kernel_size": size},
        "DepthwiseConv2D": {"kernel_size": size},
        "SeparableConv2D": {"filters": size, "kernel_size": size},
        "Conv2DTranspose": {"filters": size, "kernel_size": size},
        "Dense": {"units": size, "activation": draw(st.sampled_from([None, "softmax", "relu"]))},
        "Dropout": {"rate": 0.5},
        "ZeroPadding2D": {"padding": size},
        "Reshape": {"target_shape": (-1,)},
        "Embedding": {"input_dim": 256, "output_dim": size},
        "LSTM": {"units": size},
    }
    return getattr(keras.layers, kind)(**arguments.get(kind, {}))


@st.composite
def models(draw, fitting=False):
    """Draws a model of any topology that Keras itself takes: branches, shared and nested layers, two ends.

    A fitting one takes the images of the data, and gives its classes.
    """
    shapes = [(8, 8, 1), (8, 8, 3), (None, None, 1), (64,), (4, 4, 1)]
    shape = shapes[0] if fitting else draw(st.sampled_from(shapes))
    inputs = [keras.Input(shape) for _ in range(1 if fitting else draw(st.sampled_from([1, 1, 2])))]
    tensors = [keras.layers.Conv2D(2, 3)(inputs[0])] if fitting else list(inputs)
    for _ in range(draw(st.integers(0, 5))):
        action = draw(
            st.sampled_from(["layer", "layer", "layer", "add", "shared", "nested", "scale"])
        )
        tensor = draw(st.sampled_from(tensors))
        try:
            if action == "add":
                tensor = keras.layers.Add()([tensor, tensors[-1]])
            elif action == "shared":
                layer = layers(draw)
                tensor = layer(layer(tensor))
            elif action == "nested":
                part = keras.Sequential([keras.Input(tensor.shape[1:]), layers(draw)])
                tensor = part(tensor)
            elif action == "scale":
                tensor = tensor * 2.0 - 1.0
            else:
                tensor = layers(draw)(tensor)
        except (ValueError, TypeError, tf.errors.OpError):
            hypothesis.reject()  # Keras refuses it by itself: there is no such model.
        tensors.append(tensor)
    outputs = tensors[-1]
    if fitting:
        return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(outputs)))
    if draw(st.booleans()):
        outputs = (
            keras.layers.Dense(10)(keras.layers.Flatten()(outputs))
            if None not in shape
            else outputs
        )
    return keras.Model(inputs, [outputs, tensors[0]] if draw(st.integers(0, 5)) == 5 else outputs)


GENERATOR = np.random.default_rng(0)
SPLIT = Split(
    GENERATOR.integers(0, 256, (40, 8, 8, 1), np.uint8), GENERATOR.permutation(np.arange(40) % 10)
)
DATA = ImageData("noise", tuple("0123456789"), SPLIT, None, SPLIT)


def stages_of(model, directory, **settings):
    """The stages of a recipe with a model among its models."""
    path = directory / "model.keras"
    try:
        model.save(path)
    except (ValueError, TypeError, NotImplementedError):
        hypothesis.reject()  # Keras cannot save such a model: nobody has its file.
    settings = {name: value or str(path) for name, value in settings.items()}
    recipe = Recipe({"student": "cnn2", "teacher": "none", "training.batch_size": 8, **settings})
    return staged(recipe, directory)


def staged(recipe, directory):
    return Staged(recipe, DATA, Products(directory / "products"), front, STRATEGY)


def require_ours(error):
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert pathlib.Path(last.filename).is_relative_to(PACKAGE), str(error)
    assert "Received: " in str(error)


def search_topologies(examples, formats):
    """A test of this many topologies: each is taken, or refused in words of ours."""

    @hypothesis.given(
        models(),
        st.sampled_from(["student", "teacher"]),
        st.sampled_from([2, 4, 32]),
        st.booleans(),
    )
    @hypothesis.settings(max_examples=examples, suppress_health_check=list(hypothesis.HealthCheck))
    def search(tmp_path_factory, model, role, bits, channel):
        granularity = "channel" if channel else "tensor"
        directory = tmp_path_factory.mktemp("search")
        settings = {
            "bits": bits,
            "quantize.granularity": granularity,
            "formats": formats,
            role: None,
        }
        stages = stages_of(model, directory, **settings)
        try:
            stages.check()
        except (ValueError, TypeError) as error:
            require_ours(error)

    return search


# A topology that fits is exported: in one format that takes a second, in every default one many.
test_no_topology_ends_in_somebody_elses_traceback = search_topologies(10, ("litert-int2",))
test_no_topology_of_many_ends_in_somebody_elses_traceback = pytest.mark.slow(
    search_topologies(50, Recipe().export.formats)
)


@pytest.mark.slow
@hypothesis.given(models(fitting=True), st.sampled_from([2, 4]))
@hypothesis.settings(
    max_examples=40, suppress_health_check=list(hypothesis.HealthCheck), deadline=None
)
def test_a_topology_that_is_taken_is_trained_to_its_end(tmp_path_factory, model, bits):
    """Errors come before the work: what passes the check does not fail later."""
    directory = tmp_path_factory.mktemp("search")
    stages = stages_of(model, directory, bits=bits, student=None)
    # Pixels are not standardised in these models: a step of any size may diverge.
    recipe = stages.recipe.changed(
        {"quantized.training.epochs": 1, "quantized.training.learning_rate": 1e-12},
        formats=("saved_model", "keras", "litert-int2"),
    )
    stages = staged(recipe, directory)
    try:
        stages.check()
    except (ValueError, TypeError):
        hypothesis.reject()
    except ExportError as error:
        # LiteRT has no kernel for it.
        require_ours(error)
        assert "leave litert-int2 out of the formats" in str(error)
        recipe = recipe.changed(formats=("saved_model", "keras"))
        stages = staged(recipe, directory)
        stages.check()
    assert (stages.quantized() / "model.keras").exists()
    assert (stages.exported() / "reports.json").exists()
