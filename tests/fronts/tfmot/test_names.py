"""What a user calls layers and outputs, and the functions that he wrote, come through unchanged."""

import functools

import numpy as np
import pytest

from tfqkd.compat import keras, tf, tfmot
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import LsqQuantizer
from tfqkd.core.schemes import Scheme, TernaryScheme
from tfqkd.fronts.tfmot.batch_norm import reestimate_batch_norm
from tfqkd.fronts.tfmot.calibration import calibrate_activations
from tfqkd.fronts.tfmot.cloning import plain_layer
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.fronts.tfmot.stripping import strip_quantization, strip_weights

layers = keras.layers
DATA = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
LABELS = {"class": np.arange(16) % 5, "value": DATA[:, :1]}
LOSSES = {"class": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "value": "mse"}
ACTIVATIONS = Scheme(LsqQuantizer(3), LsqActivationQuantizer(3))


def two_heads(as_dict, chained=False):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(8, activation="relu", name="first")(inputs)
    x = layers.Dense(8, activation="relu", name="second")(x)
    category = layers.Dense(5, name="class")(x)
    value = layers.Dense(1, name="value")(category if chained else x)
    # Keras calls the outputs after the layers, also in a dict.
    return keras.Model(
        inputs, {"class": category, "value": value} if as_dict else [category, value]
    )


@pytest.mark.parametrize("scheme", [TernaryScheme(), ACTIVATIONS], ids=["weights", "activations"])
@pytest.mark.parametrize("as_dict", [False, True], ids=["list", "dict"])
def test_losses_metrics_and_labels_find_the_outputs_by_name(as_dict, scheme):
    model = two_heads(as_dict)
    quantized = quantize_model(model, scheme)
    assert {kernel.layer for kernel in quantized_kernels(quantized)} == {"second"}
    stripped = strip_quantization(quantized)
    for copy in (quantized, stripped):
        assert copy.output_names == model.output_names
        assert copy.input_names == model.input_names
        assert type(copy(DATA)) is type(model(DATA))
        copy.compile("sgd", LOSSES, metrics={"class": "accuracy"})
        results = copy.evaluate(DATA, LABELS, return_dict=True, verbose=0)
        outputs = copy(DATA)
        category, value = outputs.values() if as_dict else outputs
        expected = [LOSSES["class"](LABELS["class"], category), np.mean((value - DATA[:, :1]) ** 2)]
        named = [results["class_loss"], results["value_loss"]]
        np.testing.assert_allclose(named, expected, rtol=1e-5)
        right = np.mean(np.argmax(category, axis=1) == LABELS["class"])
        assert results["class_accuracy"] == pytest.approx(right)
    before = quantized.get_layer("second").get_weights()[0]
    quantized.fit(DATA, LABELS, verbose=0)
    assert np.abs(quantized.get_layer("second").get_weights()[0] - before).max() > 0


def test_an_output_that_another_layer_reads_quantized_keeps_its_name():
    quantized = quantize_model(two_heads(False, chained=True), ACTIVATIONS, layers="second|value")
    stripped = strip_quantization(quantized)
    assert stripped.output_names == quantized.output_names == ["class", "value"]
    for one, other in zip(stripped(DATA), quantized(DATA), strict=True):
        np.testing.assert_array_equal(one, other)


def many_outputs():
    """Heads of one and of two layers, with softmax, reshaping and an operation behind; a shared trunk."""
    inputs = keras.Input((6,))
    x = layers.Dense(8, name="first")(inputs)
    x = layers.Dense(8, name="trunk")(x)
    probabilities = layers.Softmax()(layers.Dense(3, name="a2")(layers.Dense(4, name="a1")(x)))
    boxes = layers.Reshape((2, 4))(layers.Dense(8, name="boxes")(x))
    positive = tf.nn.relu(layers.Dense(2, name="positive")(x))
    return keras.Model(
        inputs, [probabilities, {"boxes": boxes, "more": [positive, positive + 1.0]}]
    )


@pytest.mark.parametrize(
    ("layers_", "expected"),
    [
        (None, {"trunk", "a1"}),
        ({"boxes": 4}, {"trunk", "a1", "boxes"}),
        (".*", {"first", "trunk", "a1", "a2", "boxes", "positive"}),
    ],
)
def test_the_last_layer_before_every_output_stays_float(layers_, expected):
    quantized = quantize_model(many_outputs(), layers=layers_)
    assert {kernel.layer for kernel in quantized_kernels(quantized)} == expected
    outputs = strip_quantization(quantized)(DATA)
    tf.nest.map_structure(np.testing.assert_array_equal, outputs, quantized(DATA))


def test_layers_are_found_by_the_names_of_the_user_and_tfmot_keeps_its_own():
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    model = keras.Sequential([keras.Input((6,)), annotate(layers.Dense(3, name="only"))])
    with tfmot.quantization.keras.quantize_scope():
        applied = tfmot.quantization.keras.quantize_apply(model, TernaryScheme())
    assert [layer.name for layer in applied.layers] == ["quant_only"]
    quantized = quantize_model(two_heads(False))
    names = [variable.name for variable in quantized.get_layer("second").weights]
    assert names[:2] == ["second/kernel:0", "second/bias:0"]
    assert all(name.startswith("second/") for name in names)


def bent(x):
    return tf.nn.relu(x) + 0.1 * x


class Ones:
    """An initializer without a config."""

    def __call__(self, shape, dtype=None, **_):
        return tf.ones(shape, dtype)


FUNCTIONS = {
    "a lambda": {"activation": lambda x: tf.nn.relu(x) + 0.1 * x},
    "a function": {"activation": bent},
    "a partial": {"activation": functools.partial(tf.nn.leaky_relu, alpha=0.1)},
    "a Lambda layer": {"activation": layers.Lambda(lambda x: 2 * bent(x))},
    "initializers": {
        "kernel_initializer": lambda shape, dtype=None: tf.random.stateless_normal(shape, [0, 1]),
        "bias_initializer": Ones(),
    },
    "regularizers": {
        "kernel_regularizer": lambda w: 0.1 * tf.reduce_sum(w**2),
        "activity_regularizer": lambda x: 0.1 * tf.reduce_sum(x**2),
        "kernel_constraint": lambda w: tf.clip_by_value(w, -0.1, 0.1),
    },
}


@pytest.mark.parametrize(
    ("what", "functional"),
    [
        *((what, False) for what in FUNCTIONS),
        *(
            pytest.param(
                what,
                True,
                marks=() if what in ("a Lambda layer", "regularizers") else pytest.mark.slow,
            )
            for what in FUNCTIONS
        ),
    ],
)
def test_functions_without_a_config_come_through(what, functional):
    keras.utils.set_random_seed(0)
    options = FUNCTIONS[what]
    stack = [
        layers.Dense(6, name="first"),
        layers.Dense(6, name="held", **options),
        layers.BatchNormalization(),
        layers.Activation(options.get("activation", bent)),
        layers.Dense(6, name="reads"),
        layers.Dense(2, name="head"),
    ]
    model = keras.Sequential([keras.Input((6,)), *stack])
    if functional:
        model = keras.Model(model.inputs, model.outputs)
    quantized = quantize_model(model, ACTIVATIONS, layers="held|reads")
    calibrate_activations(quantized, DATA)
    reestimate_batch_norm(quantized, DATA)
    stripped = strip_quantization(quantized)
    np.testing.assert_array_equal(stripped(DATA), quantized(DATA))
    for name, value in options.items():
        for copy in (quantized.get_layer("held").layer, stripped.get_layer("held")):
            assert getattr(copy, name) is value
            assert getattr(model.get_layer("held"), name) is value


def test_a_layer_of_the_user_may_write_its_function_as_it_likes():
    class Own(layers.Dense):
        """Writes the function itself, its name or its config."""

        def __init__(self, how, my_activation, **kwargs):
            super().__init__(6, **kwargs)
            self.how = how
            self.my_activation = keras.activations.get(my_activation)

        def call(self, inputs):
            return self.my_activation(super().call(inputs))

        def get_config(self):
            written = {
                "function": self.my_activation,
                "name": self.my_activation.__name__,
                "config": keras.activations.serialize(self.my_activation),
            }
            kept = super().get_config()
            del kept["units"]
            return {**kept, "how": self.how, "my_activation": written[self.how]}

    def other(x):
        return -x

    owns = [Own(how, each) for how in ("function", "name", "config") for each in (bent, other)]
    inputs = x = keras.Input((6,))
    for layer in owns:
        x = layer(x)
    model = keras.Model(inputs, x)
    quantized = quantize_model(model, ACTIVATIONS, layers={owns[2].name: 3, ".*": None})
    (kernel,) = quantized_kernels(quantized)
    activation = quantized.get_layer(owns[1].name)
    assert plain_layer(activation) is not activation
    stripped = strip_quantization(quantized)
    np.testing.assert_array_equal(stripped(DATA), quantized(DATA))
    owns[2].kernel.assign(kernel.value())
    floats = strip_weights(quantized)
    np.testing.assert_allclose(floats(DATA), model(DATA), rtol=1e-5, atol=1e-6)


def test_functions_of_layers_within_layers_come_through():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3, 2))
    x = layers.TimeDistributed(layers.Dense(4, activation=lambda x: 2 * bent(x)))(inputs)
    x = layers.Dense(5, name="middle")(layers.SimpleRNN(3, activation=bent)(x))
    model = keras.Model(inputs, layers.Dense(2)(layers.Lambda(lambda x: 2 * x)(x)))
    batch = DATA.reshape(-1, 3, 2)
    quantized = quantize_model(model, ACTIVATIONS, layers={"middle": (None, 3)})
    np.testing.assert_array_equal(strip_quantization(quantized)(batch), quantized(batch))
    plain = quantize_model(model, layers="middle")
    value = next(quantized_kernels(plain)).value()
    model.get_layer("middle").kernel.assign(value)
    np.testing.assert_allclose(plain(batch), model(batch), rtol=1e-5, atol=1e-6)
