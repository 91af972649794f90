"""The input pipeline alone: `python -m benchmarks.pipeline_row KIND` beside a training step."""

import argparse

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.pipeline_row import BATCHES
from benchmarks.result import Result

GOAL = 10.0
KINDS = ("augmented", "augmented, kept logits")


def measure(options: argparse.Namespace) -> Result:
    """Measures how many times as many images the pipeline gives as a step can take."""
    contestants = [
        Contestant("step", ["-m", "benchmarks.ours", "ternary"]),
        *(Contestant(kind, ["-m", "benchmarks.pipeline_row", kind]) for kind in KINDS),
    ]
    turns, _ = compete(contestants, steps=options.steps, rounds=options.rounds)
    rows = []
    for kind in KINDS:
        found = ratio([BATCHES * seconds for seconds in turns["step"].wall], turns[kind].wall)
        rows.append(
            (kind, str(found), f"≥ {GOAL:.0f}: {'met' if found.low >= GOAL else 'not met'}")
        )
    return Result(
        "pipeline",
        "Images a second of the input pipeline alone, as a multiple of the ternary step's",
        ("batches", "ratio [95 % interval]", "goal"),
        rows,
        (
            f"50,000 images in memory, batch 128, {options.rounds} rounds of {options.steps} steps, and "
            f"{BATCHES} times as many batches.",
        ),
    )
