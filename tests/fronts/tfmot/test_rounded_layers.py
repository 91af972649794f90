import pytest

from tfqkd import models
from tfqkd.compat import keras, tf
from tfqkd.core.rounded_layers import ActivationBits, activation_layers, integer_layers
from tfqkd.fronts.tfmot.wiring import wiring

layers = keras.layers


def test_a_resnet_is_quantized_behind_every_relu_that_a_convolution_reads():
    model = models.build("resnet8", (8, 8, 3), 4)
    convolutions = [
        x.name for x in model.layers if "conv" in x.name or x.name[-10:] == "projection"
    ]
    rounded = activation_layers(
        wiring(model), {name: 4 for name in convolutions if name != "stem_conv"}
    )
    relus = {x.name for x in model.layers if isinstance(x, layers.ReLU)} - {"stage3_block1_relu2"}
    assert rounded == {name: ActivationBits(4, signed=False) for name in relus}


def chain(*between):
    """A convolution, what is given, a convolution to read it."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="source")(inputs)
    for layer in between:
        x = layer(x)
    return keras.Model(inputs, layers.Conv2D(4, 3, name="reader")(x))


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ([], ("source", True)),
        ([layers.ReLU(name="a")], ("a", False)),
        ([layers.ReLU(6.0, name="a")], ("a", False)),
        ([layers.ReLU(negative_slope=0.1, name="a")], ("a", True)),
        ([layers.Activation("relu", name="a")], ("a", False)),
        ([layers.Activation("swish", name="a")], ("a", True)),
        ([layers.LeakyReLU(name="a")], ("a", True)),
        ([layers.BatchNormalization(name="a")], ("a", True)),
        ([layers.ReLU(name="a"), layers.MaxPooling2D(), layers.ZeroPadding2D()], ("a", False)),
        ([layers.ReLU(), layers.AveragePooling2D(name="a")], ("a", False)),
        ([layers.AveragePooling2D(name="a")], ("a", True)),
        ([layers.ReLU(), layers.Dropout(0.5, name="a")], ("a", False)),
        ([layers.Conv2D(4, 3, activation=layers.ReLU(), name="a")], ("a", False)),
        ([layers.Conv2D(4, 3, activation=layers.LeakyReLU(), name="a")], ("a", True)),
        ([layers.Activation(layers.ReLU(), name="a")], ("a", False)),
        ([layers.ReLU(), layers.UpSampling2D(interpolation="bilinear", name="a")], ("a", False)),
        ([layers.ReLU(), layers.UpSampling2D(interpolation="bicubic", name="a")], ("a", True)),
        ([layers.ReLU(), layers.UpSampling2D(interpolation="lanczos5", name="a")], ("a", True)),
    ],
)
def test_a_site_is_where_values_are_made_and_signed_if_they_can_be_negative(between, expected):
    fresh = [type(layer).from_config(layer.get_config()) for layer in between]
    name, signed = expected
    assert activation_layers(wiring(chain(*fresh)), {"reader": 3}) == {
        name: ActivationBits(3, signed)
    }


def test_the_largest_width_counts_where_several_layers_read():
    inputs = keras.Input((4,))
    x = layers.Dense(4, activation="relu", name="source")(inputs)
    model = keras.Model(inputs, [layers.Dense(2, name="a")(x), layers.Dense(2, name="b")(x)])
    assert activation_layers(wiring(model), {"a": 2, "b": 8}) == {
        "source": ActivationBits(8, False)
    }


def test_the_input_of_the_model_stays_as_it_comes():
    assert activation_layers(wiring(chain()), {"source": 8, "reader": 4}) == {
        "source": ActivationBits(4, True)
    }


def test_an_operation_that_is_no_layer_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="b")(tf.nn.relu(layers.Dense(3)(inputs))))
    with pytest.raises(ValueError, match=r"made by a Keras layer.*'b' from the operation '.*relu"):
        activation_layers(wiring(model), {"b": 4})


def test_an_integer_resnet_has_steps_at_image_rectifiers_both_inputs_of_additions_pool_and_logits():
    model = models.build("resnet8", (8, 8, 3), 4, mean=[120.0] * 3, std=[60.0] * 3)
    rounded = integer_layers(wiring(model), 8)
    relus = {layer.name for layer in model.layers if isinstance(layer, layers.ReLU)}
    added = {
        before.name
        for layer in model.layers
        if isinstance(layer, layers.Add)
        for before in layer.inbound_nodes[0].inbound_layers
    }
    assert added - relus  # What a block adds is no ReLU's.
    assert set(rounded) == {"standardization", "pool", "logits", *relus, *added}
    assert {name for name, activation in rounded.items() if activation.signed} == {
        "standardization",
        "logits",
        *(added - relus),
    }
    assert {each.bits for each in rounded.values()} == {8}


@pytest.mark.parametrize(
    ("scale", "offset", "signed"),
    [(1 / 255, 0.0, False), (1 / 127.5, -1.0, True), (-1.0, 255.0, False), (-1.0, 0.0, True)],
)
def test_an_integer_image_is_signed_if_a_pixel_can_become_negative(scale, offset, signed):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="a")(layers.Rescaling(scale, offset, name="image")(inputs))
    model = keras.Model(inputs, layers.Flatten()(layers.Dropout(0.5, name="last")(x)))
    # The dropout does nothing in a file; what it gives out is the output.
    assert integer_layers(wiring(model), 8) == {
        "image": ActivationBits(8, signed),
        "last": ActivationBits(8, True),
    }


def test_an_integer_model_whose_output_is_made_by_no_layer_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, tf.nn.relu(layers.Dense(3, name="a")(inputs)))
    with pytest.raises(ValueError, match=r"made by a Keras layer.*from the operation '.*relu"):
        integer_layers(wiring(model), 8)
