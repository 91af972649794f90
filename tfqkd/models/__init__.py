"""Float networks for image classification, each made by a plain function, and trained ones that come along.

A network is a plain function of a Keras module: of tf_keras, which is imported when a network is built, or of
the one that is given. The package is lazy; `tfqkd.models.names` needs the standard library alone.
"""

import importlib
from typing import Any

_NAMES = {
    "application": "applications",
    "build": "zoo",
    "cnn": "cnns",
    "efficientnet_lite": "efficientnets",
    "imagenet_resnet": "resnets",
    "load_pretrained": "pretrained",
    "mobilenetv2": "mobilenets",
    "mobilenetv3": "mobilenets",
    "pretrained_file": "pretrained",
    "pretrained_names": "pretrained",
    "resnet": "resnets",
    "resnet8_mlperf": "mlperf",
    "vgg": "vggs",
    "vit": "vits",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"tfqkd.models.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'tfqkd.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
