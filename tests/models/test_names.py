import subprocess
import sys

import pytest

from tfqkd.models.names import Architecture, parse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet8", ("resnet", 8, 1.0)),
        ("resnet20", ("resnet", 20, 1.0)),
        ("resnet56", ("resnet", 56, 1.0)),
        ("wrn20x1", ("resnet", 20, 1.0)),
        ("wrn20x1.7", ("resnet", 20, 1.7)),
        ("wrn32x0.5", ("resnet", 32, 0.5)),
        ("wrn20x10", ("resnet", 20, 10.0)),
        ("vgg7", ("vgg", 7, 1.0)),
        ("vgg7x0.25", ("vgg", 7, 0.25)),
        ("cnn4", ("cnn", 4, 4.0)),
        ("cnn32", ("cnn", 4, 32.0)),
        ("resnet18", ("imagenet_resnet", 18, 1.0)),
        ("resnet34_0.5", ("imagenet_resnet", 34, 0.5)),
        ("vit2x32", ("vit", 2, 32.0)),
        ("resnet8_mlperf", ("resnet8_mlperf", 8, 1.0)),
        ("resnet8_mlperf_1.625", ("resnet8_mlperf", 8, 1.625)),
        ("mobilenetv2", ("mobilenetv2", 0, 1.0)),
        ("mobilenetv2_1.0", ("mobilenetv2", 0, 1.0)),
        ("mobilenetv2_0.35", ("mobilenetv2", 0, 0.35)),
        ("mobilenetv3_small", ("mobilenetv3_small", 0, 1.0)),
        ("mobilenetv3_large_0.75", ("mobilenetv3_large", 0, 0.75)),
        ("efficientnet_lite0", ("efficientnet_lite", 0, 1.0)),
        ("efficientnet_lite4_0.5", ("efficientnet_lite", 4, 0.5)),
    ],
)
def test_names_are_read(name, expected):
    assert parse(name) == Architecture(*expected)


def test_networks_of_keras_are_applications():
    expected = Architecture("applications", 0, 1.0, "MobileNetV2")
    assert parse("applications:MobileNetV2") == expected
    for name in ("applications:", "applications:VGG16", "MobileNetV2", "applications:mobilenetv2"):
        with pytest.raises(ValueError, match=r"applications:<name in keras\.applications>"):
            parse(name)


@pytest.mark.parametrize(
    "name",
    (
        *(
            "",
            "resnet",
            "ResNet20",
            "resnet20x2",
            "resnet020",
            "resnet20 ",
            "resnet20\n",
            "resnet２０",
        ),
        *("wrn20", "wrn20x", "wrn20x-1", "wrn20x1e3", "wrn20xnan", "wrn20x.5"),
        *("vgg16", "vgg7x", "cnn", "cnn0", "cnn4.5"),
        *("mobilenet", "mobilenetv2_", "mobilenetv2x0.5", "mobilenetv2_0.5_96", "mobilenetv3"),
        *("efficientnet_lite", "efficientnet_lite5", "efficientnet_b0", "resnet8_mlperf2"),
    ),
)
def test_other_names_are_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match=r"one of: resnet<6n\+2>.*cnn<filters>") as caught:
        parse(name)
    assert f"Received: {name!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "lower", "upper"),
    [("resnet22", 20, 26), ("resnet1", 8, 14), ("resnet21", 20, 26), ("wrn16x4", 14, 20)],
)
def test_other_depths_are_refused_with_the_next_ones(name, lower, upper):
    with pytest.raises(ValueError, match=rf"must be 6n\+2.*Use {lower} or {upper}\."):
        parse(name)


@pytest.mark.parametrize(
    ("name", "limit"), [("wrn20x0", "0.03125"), ("wrn20x0.01", "0.03125"), ("vgg7x0.001", "0.0039")]
)
def test_widths_that_leave_no_filter_are_refused(name, limit):
    with pytest.raises(ValueError, match=f"at least one of .* filters.*above {limit}"):
        parse(name)


@pytest.mark.parametrize("name", ["mobilenetv2_0", "efficientnet_lite0_0.0", "mobilenetv3_small_0"])
def test_a_width_of_zero_is_refused(name):
    with pytest.raises(ValueError, match=r"must be above 0\. Received: width=0"):
        parse(name)


def test_names_are_read_without_tensorflow():
    code = (
        "import sys, tfqkd.models, tfqkd.data\n"
        "from tfqkd.models.names import parse\n"
        "parse('resnet20')\n"
        "assert not {'tensorflow', 'tf_keras', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
