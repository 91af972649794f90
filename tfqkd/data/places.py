"""Where a data set lies; needs no TensorFlow, so that a missing one is said before it is imported."""

import difflib
import re
from pathlib import Path

FOLDER = "folder:"


def require_place(name: str, data_dir: str = "", download: bool = False) -> None:
    """Raises if the directory that a data set would be read from is not there.

    Args:
      name: As for `tfqkd.data.load`.
      data_dir: Where TensorFlow Datasets keeps its data; not looked at if empty.
      download: Whether a set that is not there is downloaded.

    Raises:
      ValueError: If `folder:PATH` names no folder, or no data set has the name.
      FileNotFoundError: If there is no `data_dir`, or the data set is in no directory of its name.
    """
    if name.startswith(FOLDER):
        root_of(Path(name.removeprefix(FOLDER)))
    elif (
        name != "digits" and data_dir and not download and not Path(data_dir).expanduser().is_dir()
    ):
        raise FileNotFoundError(
            "`data_dir` must be the directory that holds the data sets of TensorFlow Datasets. "
            f"Received: data_dir={data_dir!r}, which is none. {how_to_place(name)}"
        )
    elif name != "digits" and not download:
        _require_directory(name, data_dir)


def _require_directory(name: str, data_dir: str) -> None:
    # These parts of TFDS do without TensorFlow.
    import tensorflow_datasets as tfds  # noqa: PLC0415
    from tensorflow_datasets.core.utils import file_utils  # noqa: PLC0415

    plain = re.fullmatch(r"(\w+)(/[^:]+)?(:[\d.*]+)?", name)
    directories = [Path(path).expanduser() for path in file_utils.list_data_dirs(data_dir or None)]
    if not plain or any((directory / plain[1]).is_dir() for directory in directories):
        return  # What there is, and what a stranger name means, its builder knows.
    if plain[1] not in tfds.list_builders(with_community_datasets=False):
        raise unknown(name)
    if not data_dir:
        return  # TFDS's own default: its builder says where that is.
    raise FileNotFoundError(
        "A data set must be on disk, or be downloaded by asking for it. Received: "
        f"{name!r}, which is not in {', '.join(map(str, directories))}. {how_to_place(name)}"
    )


def unknown(name: str) -> ValueError:
    """Returns the error for a name that is no data set's, with those that are like it."""
    import tensorflow_datasets as tfds  # noqa: PLC0415

    known = ["digits", *tfds.list_builders(with_community_datasets=False)]
    close = difflib.get_close_matches(name.lower(), known) or ["digits", "cifar10", "cifar100"]
    return ValueError(
        "A data set is `digits`, `folder:PATH`, or one of TensorFlow Datasets. "
        f"Received: {name!r}. Did you mean {' or '.join(close)}?"
    )


def root_of(path: Path) -> Path:
    """Returns the absolute path of a data folder.

    Raises:
      ValueError: If there is none.
    """
    root = path.expanduser().resolve()
    if not root.is_dir():
        raise ValueError(
            f"`folder:PATH` must name a folder. Received: '{FOLDER}{path}', but {root} is none. "
            "Give the folder that holds `train` and `test`, or one folder a class."
        )
    return root


def how_to_place(name: str, data_path: str = "") -> str:
    """Returns how a set of TensorFlow Datasets comes to where it is looked for.

    Args:
      name: Its name.
      data_path: Where its prepared files belong, if that is known.
    """
    place = data_path or f"DIR/{name.partition(':')[0]}/VERSION"
    return (
        "If it is on this machine, say where with `--data_dir=DIR` (`data_dir`). With a network, "
        "`--download` (`download=True`) fetches it. Without one, let TensorFlow Datasets prepare it on "
        f"another machine and copy its directory to {place} (*.tfrecord*, dataset_info.json, "
        "features.json and what lies beside them)."
    )
