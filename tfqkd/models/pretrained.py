"""Trained networks that come with tfqkd: ternary students, also of integers alone, and their teachers."""

import pathlib
from typing import TYPE_CHECKING, Any

from tfqkd import runtime

if TYPE_CHECKING:
    from tfqkd.compat import keras as tf_keras
    from tfqkd.runtime.loaded_model import LoadedModel

DIRECTORY = pathlib.Path(__file__).with_name("weights")
KERAS_2, KERAS_3 = 2, 3
_SUFFIXES = (".tflite", ".keras")


def pretrained_names() -> tuple[str, ...]:
    """Returns the names that `load_pretrained` takes: NETWORK_DATASET, or NETWORK_KIND_DATASET.

    The kind is `ternary`, or `w2a8` for ternary weights, 8-bit activations and integers alone.
    """
    return tuple(sorted({file.stem for file in DIRECTORY.glob("*") if file.suffix in _SUFFIXES}))


def pretrained_file(name: str) -> pathlib.Path:
    """Returns the file of a trained network, to copy to a device or to give to a command.

    Beside it is its model card, `NAME.md`: recipe, data, budget, accuracy, size and limits.

    Args:
      name: One of `pretrained_names()`.

    Returns:
      The LiteRT file of a student, 2-bit or of integers alone, the Keras file of a float network.

    Raises:
      ValueError: If there is none of that name.
    """
    if name not in pretrained_names():
        raise ValueError(
            f"`name` must be one of {', '.join(pretrained_names())}. Received: name={name!r}. "
            "Train others with bin/train."
        )
    return next(file for end in _SUFFIXES if (file := DIRECTORY / f"{name}{end}").exists())


def shipped_files(name: str) -> tuple[pathlib.Path, ...]:
    """Returns all files of a trained network; the last is its model card.

    Args:
      name: One of `pretrained_names()`.

    Raises:
      ValueError: If there is none of that name.
    """
    first = pretrained_file(name)
    files = (first.with_name(f"{name}{end}") for end in (*_SUFFIXES, ".packed", ".md"))
    return tuple(file for file in files if file.exists())


def load_pretrained(
    name: str, *, trainable: bool = False, keras: int = KERAS_2
) -> "LoadedModel | tf_keras.Model":
    """Loads a trained network: a function from pixels 0..255 `[B, H, W, C]` to logits `[B, classes]`.

    Args:
      name: One of `pretrained_names()`.
      trainable: A ternary student as a Keras model too, whose kernels hold Δ times their codes:
        `quantize_model` finds the same Δ and codes again, to train on from there.
      keras: Of which Keras a Keras model is: 2 (tf_keras) or 3, on the backend that KERAS_BACKEND names and
        without TensorFlow.

    Returns:
      A ternary student as `tfqkd.runtime.load` gives it, which needs no TensorFlow and knows its
      `class_names`; a float network as a Keras model.

    Raises:
      ImportError: If LiteRT is not installed and a ternary student is asked for.
      ValueError: If there is none of that name, or no such Keras, or it is of integers and to be trained on.

    Example:
      >>> student = load_pretrained("resnet20_ternary_cifar10")
      >>> student.class_names[0]
      'airplane'
    """
    if keras not in (KERAS_2, KERAS_3):
        raise ValueError(f"`keras` must be 2 or 3. Received: keras={keras!r}.")
    file = pretrained_file(name)
    if file.suffix == ".tflite" and not trainable:
        return runtime.load(file)
    file = file.with_suffix(".keras")
    if not file.exists():
        raise ValueError(
            "A network of integers alone is trained on from the one with float activations. "
            f"Received: name={name!r}, trainable=True. Load {name.replace('w2a8', 'ternary')!r}, and "
            "quantize it with tfqkd.DeployScheme()."
        )
    if keras == KERAS_3:
        return _of_keras3(file)
    from tfqkd.compat import keras as tf_keras  # noqa: PLC0415 (a student runs without TensorFlow)

    return tf_keras.models.load_model(file, compile=False)


def _of_keras3(file: pathlib.Path) -> Any:
    import keras  # noqa: PLC0415 (loads its backend)

    from tfqkd.models.rebuilding import rebuilt  # noqa: PLC0415

    return rebuilt(file, file.stem.partition("_")[0], keras)
