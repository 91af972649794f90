import numpy as np
import pytest

from tfqkd.models import resnet, resnet8_mlperf

from . import copying


def expected_parameters(filters, classes):
    """All parameters of the reference: convolutions with biases, norms of four, projections without norm."""
    total, previous = 27 * filters + filters + 4 * filters, filters
    for stack in (1, 2, 4):
        width = stack * filters
        total += 9 * previous * width + 9 * width**2 + 2 * width + 8 * width
        if stack > 1:
            total += previous * width + width
        previous = width
    return total + previous * classes + classes


@pytest.mark.parametrize(("width", "filters"), [(1, 16), (1.625, 26)])
def test_parameters_are_the_closed_form(width, filters):
    model = resnet8_mlperf(10, width=width)
    assert model.count_params() == expected_parameters(filters, 10)


def test_parameters_are_the_known_number():
    assert resnet8_mlperf(10).count_params() == 78_666


def test_every_convolution_has_a_bias_and_no_projection_a_norm():
    model = resnet8_mlperf(10)
    convolutions = [layer for layer in model.layers if hasattr(layer, "kernel_size")]
    assert len(convolutions) == 9
    assert all(layer.use_bias for layer in convolutions)
    norms = [layer.name for layer in model.layers if hasattr(layer, "moving_mean")]
    assert len(norms) == 7
    assert not any("projection" in name for name in norms)


def test_resnet8_computes_the_same_with_the_biases_in_its_norms():
    ours, other = resnet8_mlperf(10, (8, 8, 3)), resnet(8, 10, (8, 8, 3))
    copying.randomize(ours)
    for layer in other.layers:
        if not layer.weights or layer.name.endswith("_projection_bn"):
            continue
        name = layer.name.replace("stage", "stack").replace("block1_", "")
        values = ours.get_layer(name).get_weights()
        if name == "logits":
            layer.set_weights(values)
        elif hasattr(layer, "kernel_size"):
            layer.set_weights(values[:1])
            bias = values[1]
            if name.endswith("_projection"):
                # Scale 1 and mean 0: the norm adds the bias.
                one = np.ones_like(bias)
                other.get_layer(f"{layer.name}_bn").set_weights(
                    [one, bias, 0 * bias, one - np.float32(1e-5)]
                )
        else:
            convolution = name.replace("bn", "conv")
            gamma, beta, mean, variance = values
            bias = ours.get_layer(convolution).get_weights()[1]
            layer.set_weights([gamma, beta, mean - bias, variance + np.float32(1e-3 - 1e-5)])
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")
    expected = ours(images, training=False).numpy()
    np.testing.assert_allclose(
        other(images, training=False), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )
