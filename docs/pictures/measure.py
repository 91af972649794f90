"""Measures the networks that come with tfqkd, for the picture of the README: bytes and milliseconds.

    python docs/pictures/measure.py      # writes docs/pictures/networks.json

All are LiteRT files: the ternary students as they come, the float networks exported. Accuracies are those of
the model cards, of all test images.
"""

import json
import pathlib
import re
import tempfile
import time

import numpy as np

from tfqkd.models import load_pretrained, pretrained_file, pretrained_names
from tfqkd.runtime import load

OUTPUT = pathlib.Path(__file__).with_name("networks.json")
ROUNDS = 1001


def main() -> None:
    """Writes a row for each network."""
    from tfqkd.export import to_litert  # noqa: PLC0415 (loads TensorFlow)

    names = pretrained_names()
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name in names:
            file = pretrained_file(name)
            if file.suffix == ".keras":
                file = pathlib.Path(folder, f"{name}.tflite")
                to_litert(load_pretrained(name), file, format="litert-float32")
            files.append(file)
        taken = seconds(files)
        rows = {
            name: {
                "accuracy": accuracy(name),
                "bytes": file.stat().st_size,
                "milliseconds": round(1000 * time_taken, 3),
            }
            for name, file, time_taken in zip(names, files, taken, strict=True)
        }
    OUTPUT.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def seconds(files: list[pathlib.Path]) -> list[float]:
    """Returns what an image takes each file on one thread: the fastest tenth of many, made in turns.

    Other programs can only make one longer.
    """
    models = [load(file, threads=1) for file in files]
    image = np.zeros((1, 32, 32, 3), np.uint8)
    times = np.empty((ROUNDS, len(files)))
    generator = np.random.default_rng(0)
    for row in times:
        for index in generator.permutation(len(files)):
            start = time.perf_counter()
            models[index](image)
            row[index] = time.perf_counter() - start
    return [float(value) for value in np.quantile(times, 0.1, axis=0)]


def accuracy(name: str) -> float:
    """Returns what the model card says, in per cent."""
    card = pretrained_file(name).with_suffix(".md").read_text(encoding="utf-8")
    return float(re.search(r"reaches \*\*([0-9.]+) %\*\*", card)[1])


if __name__ == "__main__":
    main()
