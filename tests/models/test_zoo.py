import pytest

from tfqkd.models import build, cnn, resnet, vgg


@pytest.mark.parametrize(
    ("name", "shape", "same"),
    [
        ("resnet8", (32, 32, 3), lambda: resnet(8, 10)),
        ("wrn20x1", (32, 32, 3), lambda: resnet(20, 10)),
        ("wrn8x1.2", (28, 28, 1), lambda: resnet(8, 10, (28, 28, 1), 1.2)),
        ("wrn8x2", (8, 8, 1), lambda: resnet(8, 10, (8, 8, 1), 2)),
        ("vgg7x0.125", (32, 32, 3), lambda: vgg(10, width=0.125)),
        ("cnn4", (8, 8, 1), lambda: cnn(4, 10)),
    ],
)
def test_name_builds_what_the_function_builds(name, shape, same):
    model, other = build(name, shape, 10), same()
    assert model.name == other.name
    assert [weight.shape for weight in model.weights] == [weight.shape for weight in other.weights]
    assert [layer.name for layer in model.layers[1:]] == [layer.name for layer in other.layers[1:]]


def test_mean_and_std_are_passed_on():
    for name in ("resnet8", "vgg7x0.0625", "cnn4"):
        model = build(name, (8, 8, 1), 10, mean=(100.0,), std=(50.0,))
        assert model.get_layer("standardization")([[[[200.0]]]]).numpy().item() == 2.0


def test_names_of_models_tell_their_width():
    assert [build(n, (8, 8, 1), 10).name for n in ("wrn8x0.5", "vgg7x0.0625", "cnn4")] == (
        ["wrn8x0.5", "vgg7x0.0625", "cnn4"]
    )


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="Received: 'alexnet'"):
        build("alexnet", (32, 32, 3), 10)


def test_network_that_does_not_fit_the_images_is_refused():
    with pytest.raises(ValueError, match="at least 8x8 for this network"):
        build("vgg7", (4, 4, 1), 10)
