"""The whole job's time against the number of examples: teacher, student, quantized student, export."""

import argparse
import dataclasses
import pathlib
import tempfile
import time

from benchmarks.contest import ratio
from benchmarks.result import Result
from tfqkd.training.recipe import Recipe
from tfqkd.training.run import run

EXAMPLES = (300, 600, 1150)
_ROUNDS = 3
_RECIPE = Recipe(
    dataset="digits",
    crop_padding=1,
    flip=False,
    student="cnn6",
    teacher="cnn32",
    batch_size=50,
    teacher_epochs=20,
    student_epochs=20,
    quantized_epochs=20,
    formats=("litert-int2",),
)


def measure(options: argparse.Namespace) -> Result:
    """Runs the same recipe on more and more of the embedded digits, in turn."""
    seconds: dict[int, list[float]] = {count: [] for count in EXAMPLES}
    for _ in range(_ROUNDS):
        for count in EXAMPLES:
            with tempfile.TemporaryDirectory() as directory:
                begin = time.perf_counter()
                recipe = dataclasses.replace(_RECIPE, train_examples=count)
                run(recipe, pathlib.Path(directory) / "run")
                seconds[count].append(time.perf_counter() - begin)
    rows = [
        (count, f"{count / EXAMPLES[0]:.2f}", str(ratio(seconds[count], seconds[EXAMPLES[0]])))
        for count in EXAMPLES
    ]
    return Result(
        "job",
        f"The whole job's time, as a multiple of that with {EXAMPLES[0]} examples (digits)",
        ("examples", "as a multiple", "time [range]"),
        rows,
        (f"{_ROUNDS} rounds; what does not grow is building and tracing models, and the export.",),
        seconds,
    )
