"""Where a data set is; needs no TensorFlow, so that a missing one is said before it is imported."""

import difflib
import re
from pathlib import Path

FOLDER, ARRAYS = "folder:", "arrays:"
_RULE = "A data set is `digits`, `folder:PATH`, `arrays:FILE.npz`, or one of TensorFlow Datasets."
_LAYOUT = "Give the folder that holds `train` and `test`, or one folder a class."


def require_location(name: str, data_dir: str = "", download: bool = False) -> None:
    """Raises if the directory that a data set would be read from is not there.

    Args:
      name: As for `tfqkd.data.load`.
      data_dir: Where TensorFlow Datasets keeps its data; not looked at if empty.
      download: Whether a set that is not there is downloaded.

    Raises:
      ValueError: If `folder:PATH` names no folder, `arrays:FILE.npz` no such file, or no data set
        has the name.
      FileNotFoundError: If there is no `data_dir`, or the data set is in no directory of its name.
    """
    require_name(name)
    if name.startswith(FOLDER):
        root_of(Path(name.removeprefix(FOLDER)))
    elif name.startswith(ARRAYS):
        from tfqkd.data import arrays  # noqa: PLC0415 (needs NumPy)

        arrays.require_arrays(Path(name.removeprefix(ARRAYS)))
    elif (
        name != "digits" and data_dir and not download and not Path(data_dir).expanduser().is_dir()
    ):
        raise FileNotFoundError(
            "`data_dir` must be the directory that holds the data sets of TensorFlow Datasets. "
            f"Received: data_dir={data_dir!r}, which is no directory. {how_to_provide(name)}"
        )
    elif name != "digits" and not download:
        _require_directory(name, data_dir)


def require_name(name: str) -> None:
    """Refuses a data set's name that is a path, and says what its name is.

    Raises:
      ValueError: If it is a path, or `folder:` or `arrays:` without one.
    """
    if name.startswith(ARRAYS):
        if name == ARRAYS:
            raise ValueError(
                f"`arrays:FILE.npz` must name a file. Received: {name!r}, without a path. "
                "Give the path of a file of `numpy.savez`."
            )
        return
    if name == FOLDER:
        raise ValueError(
            f"`folder:PATH` must name a folder. Received: {name!r}, without a path. {_LAYOUT}"
        )
    text = re.sub("^(file://|folder:)", "", name, flags=re.IGNORECASE)
    looks_like_a_path = text != name or re.match(r"[/.~]|\w:\\", text) or "\\" in text
    is_folder = text.endswith("/") and Path(text).is_dir()
    if not name.startswith(FOLDER) and (looks_like_a_path or is_folder):
        raise ValueError(f"{_RULE} Received: {name!r}, {_folder_meant(text)}.")


def _folder_meant(text: str) -> str:
    """Says what a path that was given as a data set is, and what is the data set."""
    path = Path(text).expanduser()
    if path.suffix == ".npz":
        return f"a path. That of the arrays in the file would be `{ARRAYS}{text}`"
    if not path.is_dir():
        return f"a path that is no folder. That of a folder of images would be `{FOLDER}{text}`"
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        for info in sorted(path.resolve().glob(f"{depth}dataset_info.json"))[:1]:
            # DIR/NAME/VERSION, or DIR/NAME/CONFIG/VERSION.
            kept = info.parent.parent
            folder = kept.parent.parent if kept.parent.name in _known() else kept.parent
            return (
                "a folder of TensorFlow Datasets. The data set in it is "
                f"`{kept.relative_to(folder)}`, with `--data_dir={folder}` (`data_dir`)"
            )
    return f"a folder. The data set of its images is `{FOLDER}{text}`"


def _known() -> list[str]:
    import tensorflow_datasets as tfds  # noqa: PLC0415

    return ["digits", *tfds.list_builders(with_community_datasets=False)]


def _require_directory(name: str, data_dir: str) -> None:
    # This part of TFDS does without TensorFlow.
    from tensorflow_datasets.core.utils import file_utils  # noqa: PLC0415

    plain = re.fullmatch(r"(\w+)(/[^:]+)?(:[\d.*]+)?", name)
    directories = [Path(path).expanduser() for path in file_utils.list_data_dirs(data_dir or None)]
    if not plain or any((directory / plain[1]).is_dir() for directory in directories):
        return  # Its builder knows what is there, and what an unknown name means.
    if plain[1] not in _known():
        raise unknown(name)
    if not data_dir:
        return  # TFDS's own default: its builder says where that is.
    raise FileNotFoundError(
        f"A data set must be on disk, or its download must be requested. Received: {name!r}, which is not "
        f"in {', '.join(map(str, directories))}. {how_to_provide(name)}"
    )


def unknown(name: str) -> ValueError:
    """Returns the error for a name that is no data set's, with those that are like it."""
    if Path(name).is_dir():
        return ValueError(f"{_RULE} Received: {name!r}, {_folder_meant(name)}.")
    close = difflib.get_close_matches(name.lower(), _known())
    advice = f"Did you mean {' or '.join(close)}?" if close else "For example cifar10 or cifar100."
    return ValueError(f"{_RULE} Received: {name!r}. {advice}")


def root_of(path: Path) -> Path:
    """Returns the absolute path of a data folder.

    Raises:
      ValueError: If there is none.
    """
    root = path.expanduser().resolve()
    if not root.is_dir():
        raise ValueError(
            f"`folder:PATH` must name a folder. Received: '{FOLDER}{path}', but {root} is no folder. "
            f"{_LAYOUT}"
        )
    return root


def how_to_provide(name: str, data_path: str = "") -> str:
    """Returns how a set of TensorFlow Datasets comes to where it is looked for.

    Args:
      name: Its name.
      data_path: Where its prepared files belong, if that is known.
    """
    folder = data_path or f"DIR/{name.partition(':')[0]}/VERSION"
    return (
        "If it is on this machine, say where with `--data_dir=DIR` (`data_dir`). With a network, "
        "`--download` (`download=True`) fetches it. Without one, let TensorFlow Datasets prepare it on "
        f"another machine and copy its directory to {folder} (*.tfrecord*, dataset_info.json, "
        "features.json and what is beside them)."
    )
