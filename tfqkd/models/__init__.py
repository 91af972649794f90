"""Float networks for image classification, each made by a plain function, and trained ones that come along.

A network is a plain function of a Keras module: of tf_keras, which is imported when a network is built, or of
the one that is given. The package is lazy; `tfqkd.models.names` needs the standard library alone.
"""

from tfqkd.lazy import lazy_names

_NAMES = {
    "application": "tfqkd.models.applications",
    "build": "tfqkd.models.zoo",
    "cnn": "tfqkd.models.cnns",
    "efficientnet_lite": "tfqkd.models.efficientnets",
    "imagenet_resnet": "tfqkd.models.resnets",
    "load_pretrained": "tfqkd.models.pretrained",
    "mobilenetv2": "tfqkd.models.mobilenets",
    "mobilenetv3": "tfqkd.models.mobilenets",
    "pretrained_file": "tfqkd.models.pretrained",
    "pretrained_names": "tfqkd.models.pretrained",
    "resnet": "tfqkd.models.resnets",
    "resnet8_mlperf": "tfqkd.models.mlperf",
    "vgg": "tfqkd.models.vggs",
    "vit": "tfqkd.models.vits",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = lazy_names("tfqkd.models", _NAMES)
