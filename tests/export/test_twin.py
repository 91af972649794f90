"""The tf_keras twin of a Keras 3 model computes the same, or is refused by name."""

import json

import keras as keras3
import numpy as np
import pytest

from tfqkd.export import load, twin_child, twin_process, twin_settings
from tfqkd.export.twin import require_same, twin
from tfqkd.export.twin_check import difference_of
from tfqkd.export.twin_child import in_float32
from tfqkd.export.twin_layers import require_twin

from .in_process import files_run_here

layers = keras3.layers
pytestmark = pytest.mark.skipif(
    keras3.backend.backend() != "tensorflow", reason="Twins are made on TensorFlow."
)

IMAGES = [
    layers.Conv2D(3, 3, strides=2, padding="same", activation="silu"),
    layers.Conv2D(4, 3, groups=2, use_bias=False),
    layers.Conv2DTranspose(3, 3, strides=2),
    layers.DepthwiseConv2D(3, depth_multiplier=2),
    layers.SeparableConv2D(3, 3, activation="relu6"),
    layers.Dense(3, activation="gelu"),
    layers.EinsumDense("abcd,de->abce", (None, None, 3), bias_axes="e"),
    layers.BatchNormalization(momentum=0.9, epsilon=0.01),
    layers.LayerNormalization(epsilon=0.01),
    layers.GroupNormalization(2),
    layers.UnitNormalization(),
    layers.Rescaling(0.5, -1.0),
    layers.ReLU(max_value=6.0, negative_slope=0.1, threshold=0.2),
    layers.LeakyReLU(negative_slope=0.2),
    layers.PReLU(shared_axes=[1, 2]),
    layers.ELU(alpha=0.5),
    layers.Softmax(axis=-1),
    layers.Activation("tanh"),
    layers.Flatten(),
    layers.Reshape((32, 4)),
    layers.Permute((2, 1, 3)),
    layers.Dropout(0.5),
    layers.SpatialDropout2D(0.5),
    layers.GaussianNoise(1.0),
    layers.MaxPooling2D(2, padding="same"),
    layers.AveragePooling2D(3, strides=2),
    layers.GlobalMaxPooling2D(),
    layers.GlobalAveragePooling2D(keepdims=True),
    layers.ZeroPadding2D((1, 2)),
    layers.Cropping2D(1),
    layers.UpSampling2D(2, interpolation="bilinear"),
    layers.Identity(),
    layers.RandomFlip(),
]
SERIES = [
    layers.Conv1D(3, 3, padding="causal"),
    layers.Conv1DTranspose(3, 2),
    layers.DepthwiseConv1D(3),
    layers.SeparableConv1D(3, 2),
    layers.LSTM(3, return_sequences=True),
    layers.GRU(3),
    layers.SimpleRNN(3, go_backwards=True),
    layers.Bidirectional(layers.LSTM(3), merge_mode="sum"),
    layers.TimeDistributed(layers.Dense(3)),
    layers.MaxPooling1D(2),
    layers.GlobalAveragePooling1D(),
    layers.UpSampling1D(2),
]


def changed(model):
    """With weights that no initializer gives: biases and averages other than zero."""
    random = np.random.default_rng(1)
    model.set_weights(
        [w + random.uniform(0.1, 0.5, w.shape).astype(w.dtype) for w in model.get_weights()]
    )
    return model


def same(model, inputs):
    copy = twin(model)
    found = np.asarray(copy(inputs, training=False))
    expected = np.asarray(model(inputs, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    return copy


@pytest.mark.parametrize("layer", IMAGES, ids=lambda layer: type(layer).__name__)
def test_a_layer_of_images_has_a_twin(layer):
    inputs = keras3.Input((8, 4, 4))
    images = np.random.default_rng(0).normal(size=(2, 8, 4, 4)).astype("float32")
    same(changed(keras3.Model(inputs, layer(inputs))), images)


@pytest.mark.parametrize("layer", SERIES, ids=lambda layer: type(layer).__name__)
def test_a_layer_of_series_has_a_twin(layer):
    inputs = keras3.Input((6, 4))
    series = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    same(changed(keras3.Model(inputs, layer(inputs))), series)


def test_graphs_operations_and_models_within_have_twins():
    inside = keras3.Input((4, 4, 3))
    base = keras3.Model(
        inside, layers.Conv2D(3, 3, padding="same", name="conv")(inside), name="base"
    )
    head = keras3.Sequential([keras3.Input((48,)), layers.Dense(2, name="dense")], name="head")
    inputs = keras3.Input((4, 4, 3), name="images")
    x = inputs / 2.0 - 1.0
    x = base(x)
    shared = layers.Conv2D(3, 1, name="shared")
    y = shared(x) * shared(2.0 * x) - 0.5 * x
    z = layers.Concatenate(name="both")([layers.Add()([x, y]), layers.Maximum()([x, y])])
    heads = layers.MultiHeadAttention(2, 3, name="heads")
    flat = layers.Reshape((16, 6))(1.0 - z)
    attended = heads(flat, value=flat)
    outputs = head(layers.Flatten()(base(x)))
    model = keras3.Model(inputs, outputs + layers.Dense(2, name="last")(layers.Flatten()(attended)))
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    copy = same(changed(model), images)
    assert copy.get_layer("base").get_layer("conv").kernel.shape == (3, 3, 3, 3)
    assert len(copy.weights) == len(model.weights)


@pytest.mark.parametrize("options", [{}, {"use_bias": False, "use_gate": True}], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_queries_in_groups_have_a_twin(options, masked):
    words = keras3.Input((5,), dtype="int32")
    x = layers.Embedding(4, 6, mask_zero=masked)(words)
    y = layers.GroupQueryAttention(3, 4, 2, name="groups", **options)(
        x, value=layers.Dense(6)(x), key=x, use_causal_mask=masked
    )
    numbers = np.array([[1, 2, 0, 3, 0], [3, 1, 2, 1, 1]])
    copy = same(changed(keras3.Model(words, y)), numbers)
    assert [layer.name for layer in copy.get_layer("groups").submodules if layer.name == "query"]


def test_a_normalization_that_was_adapted_has_a_twin():
    inputs = keras3.Input((4,))
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, size=(32, 4)))
    same(keras3.Model(inputs, layer(inputs)), np.ones((2, 4), np.float32))


class Own(layers.Layer):
    """A layer of the user."""

    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Own(name="own"), "Own 'base/own'"),
        (layers.Attention(name="dots"), "Attention 'base/dots'"),
        (lambda x: keras3.ops.mean(x, axis=1, keepdims=True), "Mean 'base/mean"),
    ],
)
def test_a_layer_without_a_twin_is_refused_by_name(layer, name):
    inside = keras3.Input((4, 4))
    made = layer([inside, inside]) if isinstance(layer, layers.Attention) else layer(inside)
    base = keras3.Model(inside, made, name="base")
    inputs = keras3.Input((4, 4))
    with pytest.raises(ValueError, match=name):
        require_twin(keras3.Model(inputs, base(inputs)))


def dropping(layer, shape=(8, 4)):
    """What `twin` says about a layer."""
    inside = keras3.Input(shape)
    base = keras3.Model(inside, layer(inside), name="base")
    inputs = keras3.Input(shape)
    with pytest.raises(ValueError, match="Received: ") as caught:
        twin(changed(keras3.Model(inputs, base(inputs))))
    return str(caught.value)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (layers.Dense(3, lora_rank=2, name="low"), "Dense 'base/low' with lora_rank=2"),
        (
            layers.LayerNormalization(rms_scaling=True, name="norm"),
            "'base/norm' with rms_scaling=True",
        ),
        (
            layers.TimeDistributed(layers.Dense(3, lora_rank=2, name="low"), name="each"),
            "Dense 'base/each/low' with lora_rank=2",
        ),
        (
            layers.Bidirectional(
                layers.LSTM(2), backward_layer=layers.LSTM(2, go_backwards=True, activation="celu")
            ),
            "Unknown activation function 'celu'",
        ),
    ],
)
def test_a_setting_that_the_twin_would_drop_is_an_error(layer, said):
    assert said in dropping(layer)


def test_a_constructor_that_drops_what_it_gets_is_found(monkeypatch):
    class Forgetful(twin_settings.keras.layers.Dense):
        def get_config(self):
            return {**super().get_config(), "use_bias": True}

    monkeypatch.setattr(twin_settings.keras.layers, "Dense", Forgetful)
    said = dropping(layers.Dense(3, use_bias=False, name="plain"))
    assert "Dense 'base/plain' with use_bias=False" in said


def test_a_setting_of_another_meaning_is_found_by_what_the_layer_computes():
    # Keras 3: relu6(x + 3) / 6; tf_keras: clip(x / 5 + 1/2, 0, 1).
    said = dropping(layers.Dense(3, activation="hard_sigmoid", name="hard"))
    assert "Dense 'base/hard' with activation='hard_sigmoid'" in said


def test_what_overflows_in_both_is_no_difference():
    inputs = keras3.Input((4,))
    model = keras3.Model(inputs, layers.Dense(3, activation="exponential")(inputs))
    model.set_weights([np.full((4, 3), 40, np.float32), np.zeros(3, np.float32)])
    same(model, np.ones((2, 4), np.float32))


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ([1.0, np.inf, np.nan], None),
        ([1.00005, np.inf, np.nan], None),
        ([1.5, np.inf, np.nan], 0.5),
        ([1.0, 3.0, np.nan], np.nan),
        ([np.nan, np.inf, np.nan], np.nan),
        ([1.0, np.inf], np.nan),
    ],
)
def test_outputs_are_compared_where_they_are_finite(found, difference):
    computed = difference_of(np.array([1.0, np.inf, np.nan]), np.array(found))
    assert computed == pytest.approx(difference, nan_ok=True)


def test_the_layer_behind_a_bidirectional_keeps_its_own_settings():
    layer = layers.Bidirectional(
        layers.LSTM(3, return_sequences=True),
        backward_layer=layers.GRU(3, return_sequences=True, go_backwards=True, reset_after=False),
    )
    inputs = keras3.Input((6, 4))
    series = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    copy = same(changed(keras3.Model(inputs, layer(inputs))), series)
    both = copy.layers[-1]
    assert both.backward_layer.reset_after is False
    assert both.forward_layer.name == layer.forward_layer.name


def test_a_call_for_training_is_one_for_inference_in_the_twin():
    inputs = keras3.Input((4,))
    x = layers.BatchNormalization()(inputs, training=True)
    model = changed(keras3.Model(inputs, layers.Dropout(0.5)(x, training=True)))
    same(model, np.ones((2, 4), np.float32))


@pytest.mark.parametrize(
    "policy",
    [
        "mixed_bfloat16",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("float16", "float64")),
    ],
)
def test_layers_of_any_float_dtype_have_twins_of_float32(policy):
    inside = keras3.Input((6, 4))
    x = layers.Bidirectional(layers.LSTM(3, dtype=policy), dtype=policy)(inside)
    base = keras3.Model(inside, layers.Dense(3, dtype=policy)(x), name="base")
    inputs = keras3.Input((6, 4))
    model = changed(keras3.Model(inputs, layers.Dense(2, dtype="float32")(base(inputs))))
    series = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    plain = in_float32(model)
    found = same(plain, series)(series)
    np.testing.assert_allclose(found, model(series), rtol=0.1, atol=0.1)
    assert found.dtype == "float32"


def quantized_by_keras(layer):
    model = keras3.Sequential([keras3.Input((4,)), layer])
    model.quantize("int8")
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: quantized_by_keras(layers.Dense(3, name="own")),
            "'own' of the dtype int8_from_float32",
        ),
        (lambda: layers.Rescaling(2, dtype="int32", name="whole"), "'whole' of the dtype int32"),
        (
            lambda: layers.TimeDistributed(layers.Rescaling(2, dtype="int32"), name="each"),
            "TimeDistributed 'each' of the dtype int32",
        ),
    ],
)
def test_a_layer_that_computes_otherwise_than_in_floats_is_refused(make, said):
    made = make()
    model = (
        made if isinstance(made, keras3.Model) else keras3.Sequential([keras3.Input((4, 2)), made])
    )
    with pytest.raises(ValueError, match=said):
        require_twin(model)


def test_a_layer_within_a_layer_must_have_a_twin_too():
    model = keras3.Sequential(
        [keras3.Input((4, 2)), layers.TimeDistributed(Own(name="own"), name="each")]
    )
    with pytest.raises(ValueError, match="Own 'each/own', which has none"):
        require_twin(model)


def test_a_model_of_several_inputs_and_outputs_is_exported_by_name(tmp_path):
    row, signal = keras3.Input((5,), name="row"), keras3.Input((6, 2), name="signal")
    x = layers.Concatenate()([row, layers.Flatten()(layers.Conv1D(3, 3)(signal))])
    ends = [layers.Dense(3, name="kind")(x), layers.Dense(1, name="age")(x)]
    model = keras3.Model([row, signal], ends)
    generator = np.random.default_rng(0)
    batch = [generator.normal(size=(7, *shape)).astype(np.float32) for shape in ((5,), (6, 2))]
    named = dict(zip(("row", "signal"), batch, strict=True))
    names = {"kind": ("a", "b", "c")}
    for given in (batch, named):
        settings = {"images": given, "format": "litert-float32", "class_names": names}
        model.save(tmp_path / twin_process.MODEL)
        twin_process._write_call(tmp_path, "export_one", tmp_path / "a.tflite", settings, model)
        with files_run_here():
            (report,) = twin_child._made(tmp_path, json.loads((tmp_path / "call.json").read_text()))
        assert report["output"] == {"kind": "logits", "age": "values"}
    loaded = load(tmp_path / "a.tflite")
    assert (list(loaded.inputs), loaded.class_names) == (["row", "signal"], names)
    for values, expected in zip(loaded(named).values(), model(batch), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_a_sequential_model_that_was_never_called_has_a_twin(tmp_path):
    model = keras3.Sequential([keras3.Input((4, 2)), layers.Flatten(), layers.Dense(3)])
    model.save(tmp_path / "model.keras")
    loaded = keras3.models.load_model(tmp_path / "model.keras")
    batch = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    copy = twin(loaded)
    require_same(loaded, copy, [batch])
    np.testing.assert_allclose(copy.predict(batch, verbose=0), model(batch), rtol=1e-5, atol=1e-6)
