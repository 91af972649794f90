"""Steps of the keras3 front: beside the float step of a backend, beside tf_keras, beside plain `fit`."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, Ratio, compete, ratio
from benchmarks.result import Result

_PLAIN = "float, no batch norm"
"""Keras 3 computes batch norm on TensorFlow op by op, tf_keras by one kernel: without it they are alike."""
_COMPARED = (
    (("tensorflow", "ternary"), ("tensorflow", "float"), 1.02),
    (("tensorflow", "float"), ("tf_keras", "float"), 1.05),
    (("tensorflow", _PLAIN), ("tf_keras", _PLAIN), 1.05),
    (("jax", "ternary"), ("jax", "float"), 1.02),
    (("torch", "ternary"), ("torch", "float"), 1.02),
    (("jax", "tiny, distilled"), ("jax", "tiny"), 1.3),
)
"""What is compared with what, and the goal."""
_GROUPS = (
    (("tf_keras", "float"), ("tensorflow", "float"), ("tensorflow", "ternary")),
    (("tf_keras", _PLAIN), ("tensorflow", _PLAIN)),
    (("jax", "float"), ("jax", "ternary")),
    (("torch", "float"), ("torch", "ternary")),
    (("jax", "tiny"), ("jax", "tiny, distilled")),
)
"""Who takes turns with whom: a few processes fit into memory."""


def measure(options: argparse.Namespace) -> Result:
    """Measures every comparison; a backend that is not installed has no figures."""
    turns, failed = {}, {}
    for group in _GROUPS:
        contestants = [
            Contestant(", ".join(row), ["-m", "benchmarks.keras3_row", *row]) for row in group
        ]
        taken, missing = compete(contestants, steps=options.steps, rounds=options.rounds)
        turns |= taken
        failed |= missing
    rows, kept = [], {}
    for one, other, goal in _COMPARED:
        names = [", ".join(one), ", ".join(other)]
        without = [failed[name] for name in names if name in failed]
        if without:
            rows.append((*names, without[0], ""))
            continue
        found = ratio(turns[names[0]].wall, turns[names[1]].wall)
        rows.append((*names, str(found), _verdict(found, goal)))
        kept[" / ".join(names)] = dataclasses.asdict(found)
    return Result(
        "keras3",
        "A step of `fit` of Keras 3 (ResNet20, batch 128, float32; tiny: a network of three layers)",
        ("row", "as a multiple of", "time [95 % interval]", "goal"),
        rows,
        (
            f"{options.rounds} rounds of {options.steps} steps, in turn; medians of the rounds' ratios.",
        ),
        {"ratios": kept, "turns": {name: dataclasses.asdict(each) for name, each in turns.items()}},
    )


def _verdict(found: Ratio, goal: float) -> str:
    if found.high <= goal:
        return f"≤ {goal}: met"
    return f"≤ {goal}: {'median only' if found.median <= goal else 'not met'}"
