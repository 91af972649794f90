import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError

from . import classifier


def dense_model(**kwargs):
    return keras.Sequential(
        [keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(4)], **kwargs
    )


def test_random_images_are_sixteen_and_always_the_same():
    first, second = (Source.prepare(dense_model()) for _ in range(2))
    images = first.inputs["images"]
    assert images.shape == (16, 2, 2, 3) and images.dtype == np.float32
    assert images.min() >= 0 and 200 < images.max() <= 255
    np.testing.assert_array_equal(images, second.inputs["images"])


def test_logits_are_those_of_the_model_over_several_batches():
    model = dense_model()
    images = np.random.default_rng(0).integers(0, 256, (130, 2, 2, 3), np.uint8)
    kernel, bias = model.get_weights()
    source = Source.prepare(model, images=images)
    expected = images.reshape(130, 12).astype(float) @ kernel + bias
    np.testing.assert_allclose(source.outputs["logits"], expected, rtol=1e-5, atol=1e-3)


def test_the_source_is_a_copy():
    model = dense_model()
    source = Source.prepare(model)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    assert np.abs(source.model.get_weights()[0]).max() > 0


def test_mixed_precision_is_rebuilt_in_float32():
    model = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, dtype=keras.mixed_precision.Policy("mixed_float16")),
        ]
    )
    model.layers[-1].bias.assign([70000.0, 1.0001, -1.0, 0.0])  # float16 ends at 65504.
    kernel, bias = model.get_weights()
    source = Source.prepare(model)
    assert source.model.compute_dtype == source.model.layers[-1].compute_dtype == "float32"
    expected = source.inputs["images"].reshape(-1, 12).astype(float) @ kernel + bias
    np.testing.assert_allclose(source.outputs["logits"], expected, rtol=1e-5, atol=1e-3)


def test_a_converter_runs_once_for_all_formats():
    source, calls = Source.prepare(dense_model()), []

    def convert(received):
        calls.append(received)
        return b"content"

    assert [source.converted("a", convert) for _ in range(3)] == [b"content"] * 3
    assert len(calls) == 1 and calls[0] is source
    source.converted("b", convert)
    assert len(calls) == 2


def test_kernel_layers_are_named_in_order():
    source = Source.prepare(classifier.build()[0])
    layers = ("stem", "depthwise", "ternary", "three_bit", "four_bit", "hidden", "head")
    assert source.owners.layers == layers


def test_logits_that_are_not_finite_are_refused():
    model = dense_model()
    model.layers[-1].bias.assign([0.0, np.nan, 0.0, 0.0])
    with pytest.raises(ExportError, match="Received: 16 of 64 logits on 16 images are NaN"):
        Source.prepare(model)


@pytest.mark.parametrize(
    ("names", "received"),
    [
        (("a", "b", "c"), "Received: 3 names"),
        (("a", "b", "c", "d\ne"), r"Received: \['d\\ne'\]"),
        (("a", "b", "c", ""), r"Received: \[''\]"),
        (("a", "b", "c", 4), r"Received: \[4\]"),
    ],
)
def test_class_names_must_fit_the_logits_and_one_line(names, received):
    with pytest.raises(ValueError, match=received):
        Source.prepare(dense_model(), class_names=names)


layers = keras.layers


def of_open_size():
    image = keras.Input((None, None, 3))
    return keras.Model(image, layers.GlobalAveragePooling2D()(image))


def of_strings():
    words = keras.Input((2,), dtype="string")
    return keras.Model(words, layers.StringLookup(vocabulary=["a"], output_mode="multi_hot")(words))


def without_a_last_axis():
    row = keras.Input((3,))
    return keras.Model(row, layers.Dense(1)(row)[:, 0])


def of_whole_numbers():
    row = keras.Input((3,))
    return keras.Model(row, tf.argmax(layers.Dense(2)(row)[:, None], axis=-1))


def with_a_bad_name():
    row = keras.Input((3,))
    return keras.Model(row, {"how old": layers.Dense(1)(row), "kind": layers.Dense(2)(row)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of_open_size, r"batches of a fixed size.*Received: .*\(None, None, None, 3\)"),
        (of_strings, "must take floats.*'inputs' of string"),
        (without_a_last_axis, r"must return float tensors.*\(None,\)"),
        (of_whole_numbers, r"must return float tensors"),
        (with_a_bad_name, r"must be letters.*\['how old'\]"),
        (lambda: keras.Sequential([layers.Dense(4)]), "must be a built"),
    ],
)
def test_models_that_no_file_can_hold_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        Source.prepare(make())


def test_only_models_of_tf_keras_are_taken():
    with pytest.raises(TypeError, match="must be a tf_keras model"):
        Source.prepare(lambda images: images)


def two_ends():
    row = keras.Input((3,), name="row")
    ends = {"b": layers.Dense(2, name="second")(row), "a": layers.Dense(3, name="first")(row)}
    return keras.Model(row, ends)


def test_what_is_said_of_several_outputs_is_said_by_their_names():
    names = {"a": ("x", "y", "z")}
    source = Source.prepare(two_ends(), class_names=names, output={"b": "values"})
    assert source.output == {"a": "logits", "b": "values"}
    assert source.class_names == names
    row, model = np.ones((2, 3), np.float32), two_ends()
    for arguments, message in (
        ({"class_names": ["x", "y", "z"]}, "a dict by the names of the outputs, a, b"),
        ({"class_names": {"c": ["x"]}}, "a dict by the names of the outputs, a, b"),
        ({"class_names": {"a": ["x"]}}, "one name for each of the 3 logits"),
        ({"output": "values"}, "`output` of several outputs must be a dict"),
        ({"output": {"first": "values"}}, "`output` of several outputs must be a dict"),
        ({"test": (row, np.zeros(2, int))}, r"`test` needs a model of one output \[N, classes\]"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Source.prepare(model, **arguments)


def test_examples_that_are_drawn_are_what_each_input_takes():
    words, flag = keras.Input((4,), name="words"), keras.Input((2,), dtype="int64", name="flag")
    row = keras.Input((3,), name="row")
    found = layers.Flatten()(layers.Embedding(5, 2)(words))
    ends = layers.Concatenate()([found, tf.cast(flag, tf.float32), row])
    source = Source.prepare(keras.Model([row, words, flag], layers.Dense(2)(ends)))
    assert list(source.inputs) == list(source.signature) == ["row", "words", "flag"]
    assert [value.dtype for value in source.inputs.values()] == [np.float32, np.float32, np.int64]
    assert set(np.unique(source.inputs["words"])) == set(range(5))
    assert set(np.unique(source.inputs["flag"])) == {0, 1}
    assert 0.5 < source.inputs["row"].std() < 1.5


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        # [n, 1] == [n] would compare each with all.
        (np.zeros((3, 2, 2, 3), np.uint8), np.zeros((3, 1), int), r"one for each of 3 .* \[3, 1\]"),
        (np.zeros((3, 2, 2, 3), np.uint8), np.zeros(2, int), r"Received: int64 \[2\]"),
        (np.zeros((3, 2, 2, 3), np.uint8), np.zeros(3), r"Received: float64 \[3\]"),
        (np.zeros((3, 2, 2, 3), np.uint8), np.array([0, 3, 4]), "Received: 0 to 4"),
        (np.zeros((3, 2, 2, 3), np.uint8), np.array([0, -1, 2]), "Received: -1 to 2"),
        (np.zeros((3, 3, 2, 3), np.uint8), np.zeros(3, int), r"\[N, 2, 2, 3\]"),
        (np.zeros((0, 2, 2, 3), np.uint8), np.zeros(0, int), "N ≥ 1"),
    ],
)
def test_test_images_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Source.prepare(dense_model(), test=(images, labels))


def test_test_images_of_another_type_are_refused():
    with pytest.raises(TypeError, match="float64"):
        Source.prepare(dense_model(), test=(np.zeros((3, 2, 2, 3)), np.zeros(3, int)))


def test_images_of_another_shape_or_type_are_refused():
    with pytest.raises(ValueError, match=r"\[N, 2, 2, 3\]"):
        Source.prepare(dense_model(), images=np.zeros((1, 3, 3, 3), np.float32))
    with pytest.raises(TypeError, match="float64"):
        Source.prepare(dense_model(), images=np.zeros((1, 2, 2, 3)))
