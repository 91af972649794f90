"""Where a data set lies; needs no TensorFlow, so that a missing one is said before it is imported."""

from pathlib import Path

FOLDER = "folder:"


def require_place(name: str, data_dir: str = "", download: bool = False) -> None:
    """Raises if the directory that a data set would be read from is not there.

    Args:
      name: As for `tfqkd.data.load`.
      data_dir: Where TensorFlow Datasets keeps its data; not looked at if empty.
      download: Whether a set that is not there is downloaded.

    Raises:
      ValueError: If `folder:PATH` names no folder.
      FileNotFoundError: If there is no `data_dir`.
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
