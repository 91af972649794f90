"""What a step costs under each method, beside the plain ternary step and that with a live teacher."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.methods_row import PLAIN, TAUGHT, arms
from benchmarks.result import Result

_AT_ONCE = 4


def measure(options: argparse.Namespace) -> Result:
    """Measures a step of every arm of configs/methods_cifar10.flags.

    Raises:
        RuntimeError: If one of the two that the others are compared with has failed.
    """
    names = [str(name) for name in arms().axes[0].ends()]
    others = [name for name in names if name not in (PLAIN, TAUGHT)]
    rows, kept = [], {}
    # All at once would take the memory of a small machine.
    for start in range(0, len(others), _AT_ONCE):
        contest = [PLAIN, TAUGHT, *others[start : start + _AT_ONCE]]
        contestants = [Contestant(name, ["-m", "benchmarks.methods_row", name]) for name in contest]
        turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
        if {PLAIN, TAUGHT} & set(failed):
            raise RuntimeError(", ".join(f"{name}: {said}" for name, said in failed.items()))
        for name in contest[2 if start else 1 :]:
            if name in failed:
                rows.append((name, failed[name], "", ""))
                continue
            both = [str(ratio(turns[name].wall, turns[other].wall)) for other in (PLAIN, TAUGHT)]
            rows.append((name, *both, f"{turns[name].peak_mib:.0f}"))
            kept[name] = dataclasses.asdict(turns[name])
    return Result(
        "methods",
        "A training step under a method (ResNet20, its float twin as teacher, batch 128, float32, random "
        "images)",
        (
            "arm",
            "times the plain step [95 % interval]",
            "times the step with a teacher",
            "peak MiB",
        ),
        rows,
        (
            f"{options.rounds} rounds of {options.steps} steps, in turn; medians of the rounds' ratios. "
            "What a method does between epochs is not in it.",
        ),
        kept,
    )
