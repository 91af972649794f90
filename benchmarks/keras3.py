"""Steps of the keras3 front: beside the float step of a backend, beside tf_keras, beside plain `fit`."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, Ratio, compete, ratio
from benchmarks.result import Result

_COMPARED = (
    (("tensorflow", "ternary"), ("tf_keras", "ternary"), 1.05),
    (("tensorflow", "ternary"), ("tensorflow", "float"), 1.02),
    (("tensorflow", "float"), ("tf_keras", "float"), None),
    (("jax", "ternary"), ("jax", "float"), 1.02),
    (("torch", "ternary"), ("torch", "float"), 1.02),
    (("jax", "tiny, distilled"), ("jax", "tiny"), 1.3),
)
"""What is compared with what, and the goal. A float model of Keras 3 is the user's own: it has none."""
GROUPS = {
    "tensorflow": (
        ("tf_keras", "float"),
        ("tf_keras", "ternary"),
        ("tensorflow", "float"),
        ("tensorflow", "ternary"),
    ),
    "jax": (("jax", "float"), ("jax", "ternary")),
    "torch": (("torch", "float"), ("torch", "ternary")),
    "tiny": (("jax", "tiny"), ("jax", "tiny, distilled")),
}
"""Who takes turns with whom: a few processes fit into memory."""


def measure(options: argparse.Namespace) -> Result:
    """Measures every comparison; a backend that is not installed has no figures."""
    chosen = options.groups or list(GROUPS)
    turns, failed = {}, {}
    for group in (GROUPS[name] for name in chosen):
        contestants = [
            Contestant(", ".join(row), ["-m", "benchmarks.keras3_row", *row]) for row in group
        ]
        taken, missing = compete(contestants, steps=options.steps, rounds=options.rounds)
        turns |= taken
        failed |= missing
    rows, kept = [], {}
    for one, other, goal in _COMPARED:
        names = [", ".join(one), ", ".join(other)]
        if not set(names) <= set(turns) | set(failed):
            continue
        without = [failed[name] for name in names if name in failed]
        if without:
            rows.append((*names, without[0], ""))
            continue
        found = ratio(turns[names[0]].wall, turns[names[1]].wall)
        rows.append((*names, str(found), _verdict(found, goal)))
        kept[" / ".join(names)] = dataclasses.asdict(found)
    return Result(
        "-".join(["keras3", *(options.groups or [])]),
        "A step of `fit` of Keras 3 (ResNet20, batch 128, float32; tiny: a network of three layers)",
        ("row", "as a multiple of", "time [95 % interval]", "goal"),
        rows,
        (
            f"{options.rounds} rounds of {options.steps} steps, in turn; medians of the rounds' ratios.",
        ),
        {"ratios": kept, "turns": {name: dataclasses.asdict(each) for name, each in turns.items()}},
    )


def _verdict(found: Ratio, goal: float | None) -> str:
    if goal is None:
        return ""
    if found.high <= goal:
        return f"≤ {goal}: met"
    return f"≤ {goal}: {'median only' if found.median <= goal else 'not met'}"
