"""A data set from strips of images, and one to compile programs by before they are there.

    python -m benchmarks.accelerator.arrays FOLDER > FOLDER/counts.json

FOLDER/SPLIT/CLASS/NN.webp are strips, images one under the other.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image

COUNTS = "counts.json"


def read(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of `arrays:FILE.npz`, in the order of the TFDS data set of such strips."""
    classes = sorted({path.parent.name for path in folder.glob("*/*/*.webp")})
    arrays = {"class_names": np.array(classes)}
    for split in ("train", "test"):
        strips = sorted((folder / split).glob("*/*.webp"))
        images = [np.asarray(Image.open(each).convert("RGB")) for each in strips]
        images = [each.reshape(-1, each.shape[1], each.shape[1], 3) for each in images]
        labels = [
            np.full(len(i), classes.index(s.parent.name))
            for s, i in zip(strips, images, strict=True)
        ]
        order = np.random.default_rng(0).permutation(sum(map(len, images)))
        arrays[f"{split}_images"] = np.concatenate(images)[order]
        arrays[f"{split}_labels"] = np.concatenate(labels)[order]
    return arrays


def count(arrays: dict[str, np.ndarray]) -> dict:
    """Returns what programs depend on: classes, sizes, and how often the train split has a pixel."""
    images, test = arrays["train_images"], len(arrays["test_images"])
    pixels = [np.bincount(images[..., c].ravel(), minlength=256).tolist() for c in range(3)]
    names = arrays["class_names"].tolist()
    return {"class_names": names, "side": images.shape[1], "test": test, "pixels": pixels}


def stand_in(said: dict) -> dict[str, np.ndarray]:
    """Returns arrays of the same counts: with them the mean and the deviation in a program are the same."""
    shape = (-1, said["side"], said["side"])
    channels = [np.repeat(np.arange(256, dtype=np.uint8), each) for each in said["pixels"]]
    images = np.stack([channel.reshape(shape) for channel in channels], axis=-1)
    labels, test = np.arange(len(images)) % len(said["class_names"]), said["test"]
    arrays = {"train_images": images, "train_labels": labels}
    arrays |= {"test_images": images[:test], "test_labels": labels[:test]}
    return {**arrays, "class_names": np.array(said["class_names"])}


def make(folder: pathlib.Path, *, real: bool) -> pathlib.Path:
    """Returns the file of a data set or of its stand-in, made if it is not there.

    Raises:
        ValueError: If strips are missing.
    """
    path = folder.with_name(f"{folder.name}{'' if real else '-stand_in'}.npz")
    if not path.exists():
        said = json.loads((folder / COUNTS).read_text())
        arrays = read(folder) if real else stand_in(said)
        if count(arrays) != said:
            raise ValueError(
                f"All strips must be there. Received: some, in {folder}. Carry the others."
            )
        draft = path.with_name(f"draft-{path.name}")
        np.savez(draft, **arrays)
        draft.replace(path)
    return path


if __name__ == "__main__":
    print(json.dumps(count(read(pathlib.Path(sys.argv[1])))))
