import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.export.source import Source
from tfqkd.export.verification import ExportError

from . import classifier


def dense_model(**kwargs):
    return keras.Sequential(
        [keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(4)], **kwargs
    )


def test_random_images_are_sixteen_and_always_the_same():
    first, second = (Source.prepare(dense_model()) for _ in range(2))
    assert first.images.shape == (16, 2, 2, 3) and first.images.dtype == np.float32
    assert first.images.min() >= 0 and 200 < first.images.max() <= 255
    np.testing.assert_array_equal(first.images, second.images)


def test_logits_are_those_of_the_model_over_several_batches():
    model = dense_model()
    images = np.random.default_rng(0).integers(0, 256, (130, 2, 2, 3), np.uint8)
    kernel, bias = model.get_weights()
    source = Source.prepare(model, images=images)
    np.testing.assert_allclose(
        source.logits, images.reshape(130, 12).astype(float) @ kernel + bias, rtol=1e-5, atol=1e-3
    )


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
    expected = source.images.reshape(-1, 12).astype(float) @ kernel + bias
    np.testing.assert_allclose(source.logits, expected, rtol=1e-5, atol=1e-3)


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


def test_models_that_classify_no_images_are_refused():
    layers = keras.layers
    image, flat = keras.Input((2, 2, 3)), keras.Input((12,))
    free = keras.Input((None, None, 3))
    logits = layers.Dense(4)(layers.Flatten()(image))
    cases = {
        "must take one batch of images": [
            keras.Model(flat, layers.Dense(4)(flat)),
            keras.Model(free, layers.GlobalAveragePooling2D()(free)),
            keras.Model([image, flat], layers.Add()([layers.Flatten()(image), flat])),
        ],
        "must return one float tensor": [
            keras.Model(image, [logits, logits]),
            keras.Model(image, layers.Conv2D(4, 1)(image)),
        ],
        "must be a built": [keras.Sequential([layers.Dense(4)])],
    }
    for message, models in cases.items():
        for model in models:
            with pytest.raises(ValueError, match=message):
                Source.prepare(model)
    with pytest.raises(TypeError, match="must be a tf_keras model"):
        Source.prepare(lambda images: images)


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
