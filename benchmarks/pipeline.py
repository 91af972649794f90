"""The input pipeline alone: `python -m benchmarks.pipeline_row KIND` beside a training step."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.pipeline_row import BATCHES
from benchmarks.result import Result

GOAL = 10.0
KINDS = ("augmented", "augmented, kept logits")
STEP = "ternary step on random images"
REAL = "ternary step on CIFAR-10, augmented while it steps"


def measure(options: argparse.Namespace) -> Result:
    """Measures how many times as many images the pipeline gives as a step can take, and what it costs it."""
    step = ["-m", "benchmarks.ours", "ternary"]
    contestants = [
        Contestant(STEP, step),
        *(Contestant(kind, ["-m", "benchmarks.pipeline_row", kind]) for kind in KINDS),
    ]
    if options.data_dir:
        contestants.append(Contestant(REAL, [*step, f"--data_dir={options.data_dir}"]))
    turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
    rows = []
    for kind in KINDS:
        found = ratio([BATCHES * seconds for seconds in turns[STEP].wall], turns[kind].wall)
        rows.append(
            (kind, str(found), f"≥ {GOAL:.0f}: {'met' if found.low >= GOAL else 'not met'}")
        )
    if REAL in turns:
        rows.append((REAL, str(ratio(turns[STEP].wall, turns[REAL].wall)), ""))
    else:
        rows.append((REAL, failed.get(REAL, "needs --data_dir"), ""))
    return Result(
        "pipeline",
        f"Images a second, as a multiple of the {STEP}",
        ("what", "ratio [95 % interval]", "goal"),
        rows,
        (
            f"The pipeline alone: 50,000 images in memory, batch 128. {options.rounds} rounds of "
            f"{options.steps} steps, and {BATCHES} times as many batches.",
        ),
        {name: dataclasses.asdict(taken) for name, taken in turns.items()},
    )
