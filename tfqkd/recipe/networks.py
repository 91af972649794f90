"""Settings of the teacher and of the float student."""

import dataclasses
from typing import Any

from tfqkd.recipe.setting import above, at_least, setting
from tfqkd.recipe.training import StudentTraining, TeacherTraining

# Those of `core.combining`, which loads NumPy.
COMBINATIONS = ("logits", "probabilities", "confidence")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teacher:
    """Who teaches, and how its logits are kept."""

    network: str = setting(
        "wrn20x2",
        "Teacher: as for --student, several separated by commas (see --teacher.combine), or none. A saved "
        "model is used as it is, untrained here and in the precision it was saved in: a run's student can "
        "teach the next one so. With --teacher.views also a file that tfqkd exported (.tflite, .onnx, "
        "SavedModel), and a model of the other Keras.",
    )
    weights: str = setting(
        "",
        "File of the first weights of a teacher that is applications:NAME, as for --student.weights.",
    )
    training: Any = dataclasses.field(default=TeacherTraining())
    combine: str = setting(
        "logits",
        "How several teachers become one: logits, their mean; probabilities, the mean of their softened "
        "distributions; or confidence, this mean with larger weights for those of lower entropy, by example.",
        choices=COMBINATIONS,
    )
    views: int = setting(
        0,
        "V: the quantized stage shows V fixed views of each image, for which the teacher is asked once and "
        "its logits are kept. 0 shows new views in every epoch to a live teacher; with --teacher.cache it "
        "becomes 16.",
        rule=at_least(0),
    )
    cache: str = setting(
        "",
        "Where the teacher's logits are kept; runs with the same teacher, images and augmentation share "
        "them. Beside the run's products if empty.",
        changes_result=False,
    )
    cache_limit_gb: float = setting(
        10.0,
        "The most that the teacher's logits for all V views may take, in 2^30 bytes.",
        rule=above(0),
        changes_result=False,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Student:
    """The float student, from which the quantized one starts."""

    network: str = setting(
        "resnet20",
        "Student: resnet20, resnet32, resnet56, wrn20xN (N such as 1.7), vgg7, vgg7xN, cnnN, vitBxN (B "
        "blocks); resnet18, resnet34, resnet8_mlperf, mobilenetv2, mobilenetv3_small, mobilenetv3_large, "
        "efficientnet_lite0 to 4 (these with _N for other widths, as in mobilenetv2_0.5); applications:NAME "
        "of keras.applications, such as applications:MobileNetV2; a trained network that comes along, such "
        "as resnet20_cifar10; or the path of a trained Keras model "
        "(.keras, .h5, SavedModel) that takes 0 to 255 pixels and returns logits, in the precision of "
        "--run.mixed_precision.",
    )
    weights: str = setting(
        "",
        "File of the first weights of a student that is applications:NAME, without the top, as Keras "
        "publishes it (..._no_top.h5); the head, and without a file everything, begins from random weights.",
    )
    training: Any = dataclasses.field(default=StudentTraining())
