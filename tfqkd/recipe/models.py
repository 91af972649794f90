"""Whether the names of student and teacher are those of models."""

import pathlib

from tfqkd.models.names import Architecture
from tfqkd.models.names import parse as parse_model_name
from tfqkd.models.pretrained import DIRECTORY

NO_TEACHER = "none"
MODEL_SUFFIXES = (".keras", ".h5")
FILE_SUFFIXES = (".tflite", ".packed", ".onnx")
"""Of exported files, which may be teachers."""


def check_model(role: str, name: str) -> None:
    """Raises ValueError if a student or teacher is neither a known name nor a path that exists.

    Args:
        role: "student" or "teacher"; a teacher may be several, or none.
        name: Its network.
    """
    if role == "teacher" and name == NO_TEACHER:
        return
    parts = name.split(",") if role == "teacher" else [name]
    for part in parts:
        if not is_saved(part):
            try:
                parse_model_name(part)
            except ValueError as error:
                if _exists(part):
                    raise ValueError(
                        f"`{role}` must be a known name or the path of a saved Keras model. "
                        f"Received: {role}={part!r}, no known name. The file or folder is ./{part}."
                    ) from error
                along = ", ".join(sorted(_shipped()))
                raise ValueError(f"`{role}`: {error} Trained ones come along: {along}.") from error
        elif not (_comes_along(part) or _exists(part)):
            raise ValueError(
                f"`{role}` must be a known name or the path of a saved Keras model. "
                f"Received: {role}={part!r}, which does not exist."
            )
    if len({_which(part) for part in parts}) < len(parts):
        raise ValueError(
            "`teacher` must name different models: the same one twice, of the same seed, is one teacher. "
            f"Received: teacher={name!r}. Name each once; for members of other seeds, give the saved models "
            "of runs with other seeds."
        )


def check_weights(role: str, network: str, weights: str) -> None:
    """Raises ValueError if a file of weights is none, or its network is not one of keras.applications.

    Args:
        role: "student" or "teacher".
        network: Its network.
        weights: The file; "" for none.
    """
    if not weights:
        return
    several = "," in network or is_saved(network) or network == NO_TEACHER
    if several or parse_model_name(network).family != "applications":
        raise ValueError(
            f"`{role}.weights` must be those of one network of keras.applications. Received: "
            f"{role}.weights={weights!r} with {role}={network}. Set --{role} to applications:NAME, or to the "
            "path of a saved model that has its weights."
        )
    if not _exists(weights) or pathlib.Path(weights).is_dir():
        raise ValueError(
            f"`{role}.weights` must be a file. Received: {role}.weights={weights!r}, where there is none. "
            "Check the path."
        )


def is_saved(name: str) -> bool:
    """Whether a student's or teacher's name is that of a saved model: its path, or one that comes along."""
    return name.endswith((*MODEL_SUFFIXES, *FILE_SUFFIXES)) or "/" in name or _comes_along(name)


def saved_model(name: str) -> pathlib.Path:
    """Returns the file or folder of a saved model by its name (`is_saved`)."""
    return DIRECTORY / f"{name}.keras" if _comes_along(name) else pathlib.Path(name)


def _comes_along(name: str) -> bool:
    return name in _shipped()


def _shipped() -> set[str]:
    return {file.stem for file in DIRECTORY.glob("*.keras")}


def _exists(path: str) -> bool:
    try:
        return pathlib.Path(path).exists()
    except OSError:  # A name may be too long for any file.
        return False


def _which(name: str) -> Architecture | pathlib.Path:
    return saved_model(name).resolve() if is_saved(name) else parse_model_name(name)
