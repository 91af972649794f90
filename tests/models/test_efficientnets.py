import math

import pytest
from tf_keras.src.applications import efficientnet  # The public names fix activation and blocks.

from tfqkd.models import efficientnet_lite

from . import copying

MIDDLE = ((2, 3, 24), (2, 5, 40), (3, 3, 80), (3, 5, 112), (4, 5, 192))
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}


def expected_parameters(number, classes):
    """Trainable parameters as the published table of stages and its scales give them."""
    wider, deeper = SCALES[number]

    def filters(base):
        allowed = [number for number in range(8, 512, 8) if number >= 0.9 * base * wider]
        return min(allowed, key=lambda number: (abs(number - base * wider), -number))

    # Stage 1 has no expansion: 32 channels by 3x3, and a projection.
    previous, total = filters(16), 27 * 32 + 64 + 9 * 32 + 64 + 32 * filters(16) + 2 * filters(16)
    blocks = [
        (size, filters(base)) for n, size, base in MIDDLE for _ in range(math.ceil(n * deeper))
    ]
    for size, channels in [*blocks, (3, filters(320))]:
        inner = 6 * previous
        total += (previous + size**2 + channels) * inner + 4 * inner + 2 * channels
        previous = channels
    return total + previous * 1280 + 2 * 1280 + 1280 * classes + classes


@pytest.mark.parametrize(
    ("number", "millions"),
    [
        (0, 4.7),
        pytest.param(1, 5.4, marks=pytest.mark.slow),
        (2, 6.1),
        pytest.param(3, 8.2, marks=pytest.mark.slow),
        pytest.param(4, 13.0, marks=pytest.mark.slow),
    ],
)
def test_parameters_are_the_closed_form_and_the_published_number(number, millions):
    model = efficientnet_lite(number, 1000)
    assert model.get_layer("pool").input.shape[1:] == (7, 7, 1280)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable == expected_parameters(number, 1000)
    assert round(trainable / 1e6, 1) == millions


def test_lite0_is_efficientnet_b0_of_keras_with_relu6_and_without_squeeze_and_excitation():
    blocks = [{**stage, "se_ratio": 0} for stage in efficientnet.DEFAULT_BLOCKS_ARGS]
    published = efficientnet.EfficientNet(
        *(1.0, 1.0, 224),
        activation="relu6",
        blocks_args=blocks,
        weights=None,
        input_shape=(64, 64, 3),
        classes=7,
        classifier_activation=None,
    )
    ours = efficientnet_lite(0, 7, (64, 64, 3), mean=[0] * 3, std=[255] * 3)
    copying.assert_same_function(published, ours)


def test_width_leaves_stem_and_head_alone():
    model = efficientnet_lite(0, 10, (32, 32, 3), 0.25)
    filters = [model.get_layer(f"{name}").filters for name in ("stem_conv", "head_conv")]
    assert filters == [32, 1280]
    assert [model.get_layer(f"block{block}_project").filters for block in (1, 4, 16)] == [8, 16, 80]
    assert model.get_layer("pool").input.shape[1:] == (4, 4, 1280)
    assert model.name == "efficientnet_lite0_0.25"


@pytest.mark.parametrize("number", [-1, 5])
def test_other_numbers_are_refused(number):
    with pytest.raises(ValueError, match=f"`number` must be 0 to 4. Received: number={number}"):
        efficientnet_lite(number, 10)
