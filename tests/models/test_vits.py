import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.models import build, vit

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)


def softmax(x):
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_parameters_are_the_closed_form():
    depth, width, classes = 2, 8, 5
    block = 2 * 2 * width + 4 * (width**2 + width) + 2 * (2 * width**2) + 2 * width + width
    patches = 4 * width + width + 9 * width
    expected = patches + depth * block + 2 * width + (width + 1) * classes
    assert vit(depth, width, classes, (8, 8, 1)).count_params() == expected


def test_a_block_attends_and_transforms_as_published():
    model = vit(1, 8, 3, (8, 8, 1), mean=(120.0,), std=(60.0,))
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))
    names = ["embedded", "block1_head2_scores", "block1_end"]
    tapped = keras.Model(model.input, [model.get_layer(name).output for name in names])
    x, scores, end = (np.float64(tap) for tap in tapped(IMAGES))

    def dense(name, values):
        layer = model.get_layer(f"block1_{name}")
        return values @ np.float64(layer.kernel) + np.float64(layer.bias)

    def norm(name, values):
        layer = model.get_layer(f"block1_{name}")
        centred = values - values.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
        return scaled * np.float64(layer.gamma) + np.float64(layer.beta)

    normal, mixed = norm("norm1", x), []
    for head in ("head1", "head2"):
        query, key, value = (dense(f"{head}_{part}", normal) for part in ("query", "key", "value"))
        found = query @ key.transpose(0, 2, 1) / np.sqrt(4)
        mixed.append(softmax(found) @ value)
    np.testing.assert_allclose(scores, found, rtol=1e-4, atol=1e-4)
    x = x + dense("project", np.concatenate(mixed, axis=-1))
    x = x + dense("shrink", np.maximum(dense("expand", norm("norm2", x)), 0))
    np.testing.assert_allclose(end, x, rtol=1e-3, atol=1e-3)


def test_tokens_know_where_they_are():
    """Without the convolution that tells, the mean over tokens would not see their order."""
    model = build("vit1x8", (8, 8, 1), 3)
    moved = np.roll(IMAGES, 4, axis=1)
    assert np.abs(model(IMAGES) - model(moved)).max() > 1e-4
    model.get_layer("position").depthwise_kernel.assign(np.zeros((3, 3, 8, 1)))
    np.testing.assert_allclose(model(IMAGES), model(moved), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "width", "shape"), [(0, 8, (8, 8, 1)), (1, 7, (8, 8, 1)), (1, 8, (8, 9, 1))]
)
def test_what_does_not_fit_is_refused(depth, width, shape):
    with pytest.raises(ValueError, match="A vit has at least one block"):
        vit(depth, width, 3, shape)
