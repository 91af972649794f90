"""Models that hold models: the layers of these become the model's own, and nothing else changes."""

import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts.tfmot.flattening import flattened
from tfqkd.fronts.tfmot.model import quantize_model, quantized_kernels
from tfqkd.fronts.tfmot.stripping import strip_quantization

layers = keras.layers
SHAPE = (6, 6, 2)
IMAGES = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)
rng = np.random.default_rng(1)


def base(name="base", shape=SHAPE):
    inputs = keras.Input(shape)
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 3, name="conv1")(inputs))
    x = layers.Conv2D(3, 1, name="conv2")(layers.Dropout(0.5, name="drop")(x))
    return keras.Model(inputs, layers.ReLU(name="relu")(x), name=name)


def moved(model):
    """The model with weights that no initializer gives; variances above zero."""
    for weight in model.weights:
        weight.assign(weight + np.abs(rng.normal(0, 0.3, weight.shape)))
    return model


def transfer(**call):
    """The idiom of transfer learning."""
    inner = base()
    inner.trainable = not call
    inputs = keras.Input(SHAPE, name="pixels")
    x = layers.Rescaling(0.5, name="scale")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(inner(x, **call))
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="outer")


def sequential():
    """A Sequential model of Sequential ones; the middle one got its input when it was called."""
    augmentation = keras.Sequential([layers.RandomFlip(name="flip")], name="augmentation")
    tail = keras.Sequential([layers.Flatten(name="flat"), layers.Dense(5, name="hidden")], name="t")
    return keras.Sequential([keras.Input(SHAPE), augmentation, base(), tail, layers.Dense(2)])


def first_of_sequential():
    return keras.Sequential([base(), layers.Flatten(), layers.Dense(2, name="head")])


def siamese():
    inputs = [keras.Input(SHAPE, name=name) for name in ("left", "right")]
    inner = base()
    ends = [layers.Flatten()(inner(each)) for each in inputs]
    return keras.Model(inputs, layers.Dense(2)(layers.Subtract()(ends)))


def twice_in_itself():
    """A base on its own output, within a model of its own."""
    square = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, activation="tanh", name="d")], name="square"
    )
    inputs = keras.Input((4,))
    block = keras.Model(inputs, square(square(inputs)) + inputs, name="block")
    outer = keras.Input((4,))
    return keras.Model(outer, layers.Dense(2)(block(block(outer))))


def shared_layers():
    """A base, and a model that ends in its middle."""
    inner = base()
    middle = keras.Model(inner.input, inner.get_layer("norm").output, name="middle")
    inputs = keras.Input(SHAPE)
    both = layers.Add()([inner(inputs), middle(inputs)])
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(both)))


def named_tensors():
    """Models that take and return dicts and lists, of which not all is used."""
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    outputs = {"sum": first + second, "unused": layers.Dense(3, name="unused")(first)}
    inner = keras.Model({"first": first, "second": second}, outputs, name="inner")
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    found = inner({"second": layers.Dense(4, name="before")(two), "first": one})
    heads = [layers.Dense(2, name="a")(found["sum"]), layers.Dense(3, name="b")(found["sum"])]
    return keras.Model([one, two], heads)


def of_another_type():
    """Integers into a base of floats, whose last axis of one Keras adds."""
    inner = keras.Sequential([keras.Input((4, 1)), layers.Conv1D(3, 2, name="conv")], name="inner")
    inputs = keras.Input((4,), dtype="int32")
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inner(inputs))))


def masked():
    """A mask that a layer of the base makes, and one behind it reads."""
    inputs = keras.Input((5,))
    words = layers.Embedding(7, 4, mask_zero=True, name="words")(inputs)
    inner = keras.Model(inputs, layers.LSTM(4, return_sequences=True, name="lstm")(words), name="i")
    outer = keras.Input((5,))
    return keras.Model(outer, layers.Dense(2)(layers.LSTM(3, name="last")(inner(outer))))


def inputs_of(model):
    drawn = np.random.default_rng(2)
    found = []
    for tensor in model.inputs:
        shape = (8, *tensor.shape[1:])
        whole = tensor.dtype == tf.int32 or "embedding" in str([type(x) for x in model.submodules])
        found.append(drawn.integers(0, 5, shape) if whole else drawn.normal(size=shape))
    found = [each.astype(np.float32) for each in found]
    return found[0] if len(found) == 1 else found


MODELS = {
    "transfer": (
        transfer,
        ["scale", "base/conv1", "base/norm", "base/drop", "base/conv2", "base/relu"],
    ),
    "sequential": (sequential, ["augmentation/flip", "base/conv1", "t/flat", "t/hidden"]),
    "first of a sequential": (first_of_sequential, ["base/conv1", "head"]),
    "siamese": (siamese, ["base/conv1"]),
    "twice in itself": (twice_in_itself, ["block/square/d"]),
    "shared layers": (shared_layers, ["base/conv1", "base/norm"]),
    "named tensors": (named_tensors, ["before", "a", "b"]),
    "another type": (of_another_type, ["inner/conv"]),
    "masked": (masked, ["i/words", "i/lstm", "last"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_flattened_model_computes_the_same_with_layers_of_its_own(name):
    make, names = MODELS[name]
    model = moved(make())
    before = [weight.numpy() for weight in model.weights]
    flat = flattened(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    found = [layer.name for layer in flat.layers]
    assert len(set(found)) == len(found) and set(names) <= set(found)
    assert (flat.name, flat.input_names, flat.output_names) == (
        model.name,
        model.input_names,
        model.output_names,
    )
    x = inputs_of(model)
    both = [tf.nest.flatten(each(x, training=False)) for each in (model, flat)]
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one, other)
    # A copy: the model is as it was, and nothing is shared.
    for weight in flat.weights:
        weight.assign(weight * 0)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_model_without_models_is_taken_as_it_is():
    model = base()
    assert flattened(model) is model


def frozen_layers(model):
    return {layer.name for layer in model.layers if layer.weights and not layer.trainable}


def test_a_frozen_base_is_not_trained_and_stays_in_inference_mode():
    model = moved(transfer(training=False))
    flat = flattened(model)
    assert frozen_layers(flat) == {"base/conv1", "base/norm", "base/conv2"}
    assert [w.name for w in flat.trainable_weights] == [w.name for w in model.trainable_weights]
    # Dropout and batch norm of the base do not see that the outer model trains.
    np.testing.assert_array_equal(flat(IMAGES, training=True), model(IMAGES, training=True))
    np.testing.assert_array_equal(flat(IMAGES, training=True), flat(IMAGES))


def test_a_base_that_trains_is_told_so_by_the_outer_model():
    model = moved(transfer())
    flat = flattened(model)
    tf.random.set_seed(0)
    trained = model(IMAGES, training=True)
    tf.random.set_seed(0)
    again = flat(IMAGES, training=True)
    assert trained.shape == again.shape
    for one, other in zip(
        model.get_layer("base").get_layer("norm").get_weights(),
        flat.get_layer("base/norm").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert frozen_layers(flat) == set()


def test_single_layers_of_a_base_stay_frozen_and_regularized():
    inner = base()
    inner.get_layer("conv1").trainable = False
    inner.get_layer("conv2").kernel_regularizer = keras.regularizers.L2(0.5)
    model = keras.Sequential([keras.Input(SHAPE), inner, layers.Flatten(), layers.Dense(2)])
    flat = flattened(model)
    assert frozen_layers(flat) == {"base/conv1"}
    (penalty,) = flat.losses
    kernel = inner.get_layer("conv2").kernel.numpy()
    assert float(penalty) == pytest.approx(0.5 * (kernel**2).sum(), rel=1e-6)


@pytest.mark.parametrize("ending", [".keras", ".h5", ""])
def test_transfer_learning_is_quantized_trained_stripped_and_saved(ending, tmp_path):
    model = moved(transfer(training=False))
    quantized = quantize_model(model, TernaryScheme(), layers={"base/conv.*": 2})
    assert [kernel.layer for kernel in quantized_kernels(quantized)] == ["base/conv1", "base/conv2"]
    for kernel, name in zip(quantized_kernels(quantized), ("conv1", "conv2"), strict=True):
        np.testing.assert_array_equal(kernel.latent, model.get_layer("base").get_layer(name).kernel)
    quantized.compile("sgd", "mse")
    before = quantized.get_layer("head").get_weights()
    quantized.fit(IMAGES, np.ones((8, 3)), verbose=0)
    assert not np.array_equal(before[0], quantized.get_layer("head").get_weights()[0])
    np.testing.assert_array_equal(
        next(quantized_kernels(quantized)).latent, model.get_layer("base").get_layer("conv1").kernel
    )
    stripped = strip_quantization(quantized)
    np.testing.assert_array_equal(stripped(IMAGES), quantized(IMAGES))
    quantized.save(tmp_path / f"model{ending}")
    again = keras.models.load_model(tmp_path / f"model{ending}")
    np.testing.assert_array_equal(again(IMAGES), quantized(IMAGES))


class Own(keras.Model):
    """A subclassed base."""

    def __init__(self):
        super().__init__(name="own")
        self.conv, self.norm = layers.Conv2D(3, 3, name="c"), layers.BatchNormalization(name="n")

    def call(self, inputs, training=None):
        return self.norm(self.conv(inputs), training=training)


class Scaled(keras.Model):
    """A Functional model of which `call` makes something else."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training, mask)


def around(inner):
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inner(inputs))))


def test_a_subclassed_model_is_refused_and_what_the_error_says_to_do_works():
    own = Own()
    model = moved(around(own))
    with pytest.raises(ValueError, match=r"'own', a Own.*keras\.Model\(inputs, inner\.call"):
        quantize_model(model)
    own_alone = Own()
    own_alone(IMAGES)
    with pytest.raises(ValueError, match=r"Received: Own.*keras\.Model\(inputs, model\.call"):
        quantize_model(own_alone)
    inputs = keras.Input(SHAPE)
    rebuilt = keras.Model(inputs, own.call(inputs))
    np.testing.assert_array_equal(rebuilt(IMAGES), own(IMAGES))
    quantized = quantize_model(
        around(keras.Model(inputs, own.call(inputs), name="b")), layers="b/.*"
    )
    assert [kernel.layer for kernel in quantized_kernels(quantized)] == ["b/c"]


def test_a_model_with_a_call_of_its_own_is_refused():
    inner = base()
    scaled = Scaled(inner.inputs, inner.outputs, name="scaled")
    with pytest.raises(ValueError, match="Received: 'scaled', a Scaled"):
        flattened(around(scaled))
    with pytest.raises(ValueError, match="Received: Scaled"):
        quantize_model(scaled, layers=".*")


class WithoutTraining(layers.Layer):
    """A layer that hands `training` on only through Keras."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization()

    def call(self, inputs):
        return self.norm(inputs)


def with_a_loss():
    inner = base()
    inner.add_loss(tf.reduce_sum(inner.output))
    return around(inner)


def without_training():
    inputs = keras.Input(SHAPE)
    inner = keras.Model(inputs, WithoutTraining(name="hidden")(inputs), name="inner")
    outer = keras.Input(SHAPE)
    return keras.Model(outer, inner(outer, training=False))


def with_a_mask():
    inputs = keras.Input((5, 2))
    inner = keras.Model(inputs, layers.LSTM(3)(inputs), name="inner")
    outer = keras.Input((5, 2))
    return keras.Model(outer, inner(outer, mask=outer[..., 0] > 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_a_loss, "'base' with add_loss"),
        (without_training, "'hidden', a WithoutTraining"),
        (with_a_mask, "'inner', called with mask"),
    ],
)
def test_what_flattening_would_change_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        flattened(make())
