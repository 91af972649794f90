import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.models import imagenet_resnet, resnet


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def expected_parameters(depth, classes, width, channels=3):
    """Trainable parameters, summed as the paper describes the network: BN has two per filter."""
    total, previous = 9 * channels * 16 + 2 * 16, 16
    for stage, filters in enumerate((round(16 * width), round(32 * width), round(64 * width))):
        for block in range((depth - 2) // 6):
            if block == 0 and (stage > 0 or filters != 16):
                total += previous * filters + 2 * filters
            total += 9 * previous * filters + 9 * filters**2 + 4 * filters
            previous = filters
    return total + previous * classes + classes


def test_resnet20_has_its_known_number_of_parameters():
    model = resnet(20, 10)
    assert trainable(model) == 272_474
    stem, *others = convolutions(model)
    assert stem.name == "stem_conv"
    assert sum(np.prod(layer.kernel.shape) for layer in others) == 269_824


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (56, 0.85)])
def test_parameters_are_those_of_table_6(depth, millions):
    # The table's networks pad their shortcuts (option A); our projections add 2,752 parameters.
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert projections == 2752
    assert round((trainable(resnet(depth, 10)) - projections) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("depth", "classes", "width"),
    [(8, 2, 1), (20, 100, 1), (20, 100, 1.2), (20, 10, 1.7), (14, 10, 0.5), (14, 10, 2)],
)
def test_parameters_are_the_closed_form(depth, classes, width):
    model = resnet(depth, classes, width=width)
    assert trainable(model) == expected_parameters(depth, classes, width)


def test_fractional_width_rounds_filters_and_keeps_the_stem():
    model = resnet(20, 10, width=1.7)
    filters = {layer.name: layer.filters for layer in convolutions(model)}
    assert filters["stem_conv"] == 16
    assert [filters[f"stage{stage}_block3_conv2"] for stage in (1, 2, 3)] == [27, 54, 109]
    assert filters["stage1_block1_projection"] == 27
    assert model.name == "wrn20x1.7"


def test_depth_counts_the_layers_with_weights():
    for depth in (8, 14):
        layers = [
            layer
            for layer in resnet(depth, 10).layers
            if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))
            and "projection" not in layer.name
        ]
        assert len(layers) == depth


def test_only_blocks_that_change_shape_project():
    names = [layer.name for layer in convolutions(resnet(20, 10)) if "projection" in layer.name]
    assert names == ["stage2_block1_projection", "stage3_block1_projection"]


def test_stages_halve_the_image():
    model = resnet(8, 10, (32, 24, 3))
    shapes = [model.get_layer(f"stage{stage}_block1_relu2").output.shape[1:] for stage in (1, 2, 3)]
    assert shapes == [(32, 24, 16), (16, 12, 32), (8, 6, 64)]


def test_a_block_is_relu_of_its_input_plus_two_normalized_convolutions():
    # Stage 3 makes one pixel of a 2x2 map here, so that a block is a few sums of products.
    model = resnet(8, 10, (4, 4, 3))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            rng = np.random.default_rng(len(layer.name))
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    block = "stage3_block1"
    entry = model.get_layer("stage2_block1_relu2").output
    part = keras.Model(model.input, [entry, model.get_layer(f"{block}_relu2").output])
    x, found = part(np.random.default_rng(0).uniform(0, 255, (3, 4, 4, 3)).astype(np.float32))

    def normalized(values, name):
        gamma, beta, mean, variance = model.get_layer(name).get_weights()
        return gamma * (values - mean) / np.sqrt(variance + 1e-5) + beta

    def kernel(name):
        return model.get_layer(f"{block}_{name}").get_weights()[0].astype(np.float64)

    # A 3x3 kernel of stride 2 pads a 2x2 image below and right only: its upper left 2x2 is used.
    x = x.numpy().astype(np.float64)
    y = np.einsum("bhwi,hwio->bo", x, kernel("conv1")[:2, :2])
    y = np.maximum(normalized(y, f"{block}_bn1"), 0)
    y = normalized(y @ kernel("conv2")[1, 1], f"{block}_bn2")
    shortcut = normalized(x[:, 0, 0] @ kernel("projection")[0, 0], f"{block}_projection_bn")
    np.testing.assert_allclose(found[:, 0, 0], np.maximum(y + shortcut, 0), rtol=1e-4, atol=1e-4)


def test_logits_are_taken_from_the_mean_over_the_image():
    model = resnet(8, 10, (8, 8, 3))
    features = keras.Model(model.input, [model.layers[-3].output, model.output])
    x, logits = features(np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32))
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(
        logits, x.numpy().mean(axis=(1, 2)) @ kernel + bias, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=rf"must be 6n\+2.*Received: depth={depth}"):
        resnet(depth, 10)


@pytest.mark.parametrize("width", [0, -1, 0.01])
def test_widths_without_filters_are_refused(width):
    with pytest.raises(ValueError, match=f"Received: width={width}"):
        resnet(20, 10, width=width)


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672)])
def test_imagenet_resnets_have_their_published_numbers_of_parameters(depth, parameters):
    model = imagenet_resnet(depth, 1000)
    assert trainable(model) == parameters
    assert model.get_layer("stem_pool").output_shape[1:] == (56, 56, 64)
    assert model.get_layer("stage4_block2_relu2").output_shape[1:] == (7, 7, 512)
    assert model.name == f"resnet{depth}"


def test_imagenet_resnets_of_other_depths_are_refused():
    with pytest.raises(ValueError, match=r"`depth` must be 18 or 34. Received: depth=50"):
        imagenet_resnet(50, 10)
