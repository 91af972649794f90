"""`quantize_model` and `strip_quantization`: graphs, names, what is frozen, files and errors."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.fronts.keras3.inside.nets import (
    BACKEND,
    array,
    batch,
    cross_entropy,
    perceptron,
    same_outputs,
    same_weights,
)
from tfqkd.core.clustered import ClusteredQuantizer
from tfqkd.core.ops import NUMPY
from tfqkd.core.quantizers import (
    DorefaQuantizer,
    LsqQuantizer,
    TtqQuantizer,
    TwnQuantizer,
    UniformQuantizer,
)
from tfqkd.core.schemes import Scheme, TernaryScheme, UniformScheme
from tfqkd.fronts import keras3


def nested():
    """A base model, called twice, a Sequential one within a model, and a shared layer."""
    inside = keras.Input((4, 4, 3), name="pixels")
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inside)
    base = keras.Model(inside, layers.BatchNormalization(name="norm")(x), name="base")
    head = keras.Sequential(
        [keras.Input((48,)), layers.Dense(5, name="dense"), layers.ReLU()], name="head"
    )
    inputs = keras.Input((4, 4, 3), name="images")
    shared = layers.Conv2D(3, 1, name="shared")
    x = base(base(inputs))
    x = shared(x) + shared(x * 2.0)
    x = head(layers.Flatten(name="flat")(x))
    return keras.Model(inputs, layers.Dense(2, name="logits")(x), name="whole")


def fitted(model, shape=(6,), classes=3, optimizer="sgd", **options):
    model.compile(optimizer, cross_entropy(), **options)
    model.fit(*batch(8, shape, classes), batch_size=4, verbose=0)
    return model


def test_models_within_a_model_keep_their_structure(tmp_path):
    model = nested()
    quantized = fitted(keras3.quantize_model(model, layers=".*"), (4, 4, 3), 2)
    names = [kernel.layer for kernel in keras3.quantized_kernels(quantized)]
    assert names == ["base/conv", "shared", "head/dense", "logits"]
    assert [layer.name for layer in quantized.layers] == [layer.name for layer in model.layers]
    assert {v.path for v in model.weights} <= {v.path for v in quantized.weights}
    assert isinstance(quantized.get_layer("head"), keras.Sequential)
    inputs, _ = batch(8, (4, 4, 3))
    stripped = keras3.strip_quantization(quantized)
    same_outputs(quantized, stripped, inputs)
    assert len(stripped.weights) == len(model.weights)
    quantized.save(tmp_path / "nested.keras")
    same_weights(quantized, keras.models.load_model(tmp_path / "nested.keras"))


def test_first_and_last_layer_stay_float_by_default():
    names = [kernel.layer for kernel in keras3.quantized_kernels(keras3.quantize_model(nested()))]
    assert names == ["shared", "head/dense"]


def test_layers_are_selected_by_path_class_and_bits():
    rules = {"head/.*": 4, layers.Conv2D: 3, ("logits",): None}
    quantized = keras3.quantize_model(nested(), UniformScheme(2), rules)
    bits = {kernel.layer: kernel.quantizer.bits for kernel in keras3.quantized_kernels(quantized)}
    assert bits == {"base/conv": 3, "shared": 3, "head/dense": 4}


def test_the_model_itself_is_left_alone():
    model = perceptron()
    before = model.get_weights()
    model.compile("sgd", loss=lambda labels, outputs: keras.ops.mean(outputs))
    fitted(keras3.quantize_model(model))
    for kept, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)
    assert model.compiled
    assert [layer.name for layer in model.layers] == [
        "features",
        "a",
        "b",
        "norm",
        "relu",
        "logits",
    ]


def test_frozen_layers_stay_frozen():
    model = nested()
    model.get_layer("base").trainable = False
    model.get_layer("head").get_layer("dense").trainable = False
    scheme = TernaryScheme(step_update="every_step")
    quantized = keras3.quantize_model(model, scheme, layers=".*")
    frozen = {v.path: array(v.value) for v in quantized.weights if not v.trainable}
    assert [v.path for v in quantized.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    fitted(quantized, (4, 4, 3), 2)
    for kernel in keras3.quantized_kernels(quantized):
        paths = [kernel.latent.path, kernel.state["step"].path]
        changed = [
            not np.array_equal(frozen.get(path, 0), _value(quantized, path)) for path in paths
        ]
        assert changed == (
            [False, False] if kernel.layer in ("base/conv", "head/dense") else [True] * 2
        )
    np.testing.assert_array_equal(_value(quantized, "norm/moving_mean"), 0.0)
    stripped = keras3.strip_quantization(quantized)
    assert not stripped.get_layer("head").get_layer("dense").trainable
    assert stripped.get_layer("shared").trainable


def _value(model, path):
    return array(next(v for v in model.weights if v.path == path).value)


@pytest.mark.parametrize(
    "quantizer",
    [
        UniformQuantizer(2),
        UniformQuantizer(4, "channel", "every_step"),
        TwnQuantizer(),
        TtqQuantizer(),
        LsqQuantizer(3, "channel"),
        DorefaQuantizer(2, gradient_bits=4),
        ClusteredQuantizer(UniformQuantizer(8), 5),
    ],
    ids=repr,
)
def test_a_quantizer_gives_what_the_core_gives(quantizer, tmp_path):
    quantized = keras3.quantize_model(perceptron(batch_norm=False), Scheme(quantizer), layers="b")
    fitted(quantized, optimizer=keras.optimizers.SGD(0.05))
    (kernel,) = keras3.quantized_kernels(quantized)
    state = {name: array(variable.value) for name, variable in kernel.state.items()}
    expected = quantizer.quantize(array(kernel.latent.value), state, NUMPY)
    np.testing.assert_allclose(array(kernel.value()), expected, rtol=1e-6, atol=1e-7)
    learned = {variable.path for variable in quantized.trainable_variables}
    assert {f"b/kernel_{name}" for name in quantizer.learned} <= learned
    quantized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    same_weights(quantized, loaded)
    assert next(keras3.quantized_kernels(loaded)).quantizer == quantizer


def test_steps_start_from_the_trained_weights():
    model = perceptron()
    (kernel,) = keras3.quantized_kernels(keras3.quantize_model(model))
    latent = array(model.get_layer("b").kernel.value)
    expected = UniformQuantizer(2).initial_state(latent)["step"]
    np.testing.assert_array_equal(array(kernel.state["step"].value), expected)


def test_a_weights_file_goes_into_a_model_quantized_alike(tmp_path):
    model = perceptron()
    quantized = fitted(keras3.quantize_model(model))
    quantized.save_weights(tmp_path / "student.weights.h5")
    other = keras3.quantize_model(model)
    other.load_weights(tmp_path / "student.weights.h5")
    same_weights(quantized, other)


@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_codes_come_from_float32_weights_under_mixed_precision(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = perceptron()
    finally:
        keras.config.set_dtype_policy("float32")
    quantized = fitted(keras3.quantize_model(model))
    (kernel,) = keras3.quantized_kernels(quantized)
    assert str(kernel.latent.dtype) == str(kernel.state["step"].dtype) == "float32"
    latent, step = array(kernel.latent.value), array(kernel.state["step"].value)
    expected = np.sign(latent) * np.minimum(np.floor(np.abs(latent) / step + 0.5), 1) * step
    np.testing.assert_array_equal(array(kernel.value()), expected)
    assert keras.backend.standardize_dtype(quantized(batch(2)[0]).dtype) == policy.removeprefix(
        "mixed_"
    )
    stripped = keras3.strip_quantization(quantized)
    np.testing.assert_array_equal(array(stripped.get_layer("b").kernel.value), expected)
    quantized.save(tmp_path / "mixed.keras")
    same_weights(quantized, keras.models.load_model(tmp_path / "mixed.keras"))


@pytest.mark.parametrize(
    "options",
    [
        *(
            pytest.param({option: True}, marks=pytest.mark.slow)
            for option in ("run_eagerly", "jit_compile")
        ),
        {"steps_per_execution": 2},
    ],
    ids=repr,
)
def test_fit_has_its_options(options):
    if BACKEND == "torch" and "steps_per_execution" in options:
        pytest.skip("Keras refuses it on PyTorch.")
    quantized = keras3.quantize_model(perceptron(), TernaryScheme(step_update="every_step"))
    quantized.compile("sgd", cross_entropy(), **options)
    quantized.fit(*batch(16), batch_size=4, verbose=0)
    (kernel,) = keras3.quantized_kernels(quantized)
    expected = UniformQuantizer(2).initial_state(array(kernel.latent.value))["step"]
    # It followed the weights before the last update.
    np.testing.assert_allclose(array(kernel.state["step"].value), expected, rtol=0.05)


@keras.saving.register_keras_serializable("tests")
class Classifier(keras.Model):
    """A subclassed model with dropout, batch norm and a loss of its own."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = layers.Dense(units, name="hidden", activity_regularizer="l2")
        self.norm = layers.BatchNormalization(name="norm")
        self.drop = layers.Dropout(0.5, name="drop")
        self.logits = layers.Dense(3, name="logits")

    def call(self, inputs, training=None):
        x = self.norm(self.hidden(inputs), training=training)
        return self.logits(self.drop(keras.ops.relu(x), training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_a_subclassed_model_is_one_unit(tmp_path):
    model = Classifier()
    model(batch(2)[0])
    quantized = keras3.quantize_model(model, layers=".*")
    names = [(kernel.layer, kernel.attribute) for kernel in keras3.quantized_kernels(quantized)]
    assert [name for _, name in names] == ["hidden/kernel", "logits/kernel"]
    (unit,) = {layer for layer, _ in names}
    inner = quantized.get_layer(unit).layer
    fitted(quantized)
    # What the layers within it assign reaches their variables.
    assert np.any(array(inner.norm.moving_mean.value) != 0)
    inputs, _ = batch(8)
    assert np.any(array(quantized(inputs, training=True)) != array(quantized(inputs)))
    quantized(inputs, training=True)
    assert len(quantized.losses) == 1
    same_outputs(quantized, keras3.strip_quantization(quantized), inputs)
    quantized.save(tmp_path / "unit.keras")
    same_weights(quantized, keras.models.load_model(tmp_path / "unit.keras"))


class Wrapping(keras.Model):
    """A subclassed model whose author quantizes one of its layers."""

    def __init__(self):
        super().__init__()
        self.hidden = keras3.QuantizedLayer(layers.Dense(4, name="hidden"), UniformQuantizer(2))
        self.logits = layers.Dense(3, name="logits")

    def call(self, inputs):
        return self.logits(self.hidden(inputs))


def test_an_author_wraps_the_layers_of_a_subclassed_model():
    model = fitted(Wrapping())
    (held,) = model.hidden.quantized
    first = array(held.state["step"].value)
    model.hidden.restart()
    expected = UniformQuantizer(2).initial_state(array(held.kernel.variable.value))["step"]
    np.testing.assert_array_equal(array(held.state["step"].value), expected)
    assert first > 0 and np.any(first != expected)


def test_a_stateless_scope_hides_the_one_around_it():
    """What the wrapper relies on; a release of Keras that changes it shows here."""
    variable, other = keras.Variable(1.0), keras.Variable(2.0)
    with keras.StatelessScope([(variable, 3.0), (other, 5.0)]) as outer:
        with keras.StatelessScope([(variable, 4.0)], collect_losses=True) as inner:
            assert float(variable.value) == 4.0
            assert float(other.value) == 2.0  # Not 5: so all variables are handed on.
            variable.assign(6.0)
            assert float(variable.value) == 6.0
        assert float(inner.get_current_value(variable)) == 6.0
        assert inner.get_current_value(other) is None
        assert float(variable.value) == 3.0
        variable.assign(7.0)
        assert float(outer.get_current_value(variable)) == 7.0
    assert float(variable.value) == 1.0


def test_the_summary_has_a_row_for_each_kernel():
    quantized = keras3.quantize_model(nested(), UniformScheme(2), {"base/conv": 4})
    printed = []
    summary = keras3.quantization_summary(quantized, printed.append)
    assert [(row.layer, row.bits) for row in summary.layers] == [
        ("base/conv", 4),
        ("shared", 2),
        ("head/dense", 2),
        ("logits", 32),
    ]
    (conv, *_) = summary.layers
    assert conv.packed_bytes == 9 * 3 * 3 // 2 + 1 + 4
    assert summary.float_bytes == 4 * sum(np.prod(v.shape) for v in nested().weights)
    assert "Left float: logits" in printed[0]


def test_quantizing_twice_is_refused():
    with pytest.raises(ValueError, match="quantized already"):
        keras3.quantize_model(keras3.quantize_model(perceptron()))


def test_a_model_without_weights_is_refused():
    with pytest.raises(ValueError, match="must be built"):
        keras3.quantize_model(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(TypeError, match="must be a Keras 3 model"):
        keras3.quantize_model(np.zeros(3))


class Scaling(layers.Layer):
    """A layer whose config does not rebuild it."""

    def __init__(self, scale):
        super().__init__(name="scaling")
        self.scale = scale

    def call(self, inputs):
        return inputs * self.scale

    def get_config(self):
        return {}


def test_a_layer_that_cannot_be_rebuilt_is_named():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), Scaling(2.0), layers.Dense(3)])
    with pytest.raises(ValueError, match="Scaling 'scaling'"):
        keras3.quantize_model(model, layers=".*")
