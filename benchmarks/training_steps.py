"""Our training steps beside the float step, the parts they are made of, and the machine's limit."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, Ratio, compete, ratio
from benchmarks.ours import LIMIT, ROWS
from benchmarks.result import Result

GOALS = {
    "ternary": 1.01,
    "ternary, per channel": 1.03,
    "ternary, step anew": 1.03,
    "ternary, step anew per channel": 1.03,
    "2 bits, learned step": 1.03,
    "2 bits, learned step per channel": 1.03,
    "ternary, live teacher": 1.02,
    "ternary, cached logits": 1.03,
}


def measure(options: argparse.Namespace) -> Result:
    """Measures every row of ours; ratios are to the float step, or to the parts for a live teacher."""
    data = [f"--data_dir={options.data_dir}"] if options.data_dir else []
    contestants = [Contestant(row, ["-m", "benchmarks.ours", row, *data]) for row in ROWS]
    turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
    needed = {"float", LIMIT, "teacher's forward pass"} & set(failed)
    if needed:
        raise RuntimeError(", ".join(f"{row}: {failed[row]}" for row in sorted(needed)))
    plain, limit = turns["float"].wall, turns[LIMIT].wall
    with_forward = [a + b for a, b in zip(plain, turns["teacher's forward pass"].wall, strict=True)]
    rows, kept = [], {}
    for row in ROWS:
        if row in failed:
            rows.append((row, failed[row], "", "", "", ""))
            continue
        live = row == "ternary, live teacher"
        found = ratio(turns[row].wall, with_forward if live else plain)
        processor = ratio(turns[row].cpu, turns["float"].cpu)
        times_limit = ratio(turns[row].wall, limit)
        rows.append(
            (
                row,
                f"{found}{' of float + forward' if live else ''}",
                f"{processor.median:.3f}",
                f"{100 / times_limit.median:.0f} %" if row != LIMIT else "",
                f"{turns[row].peak_mib:.0f}",
                _verdict(found, GOALS.get(row)),
            )
        )
        kept[row] = {**dataclasses.asdict(turns[row]), "ratio": dataclasses.asdict(found)}
    return Result(
        "steps",
        "A training step, as a multiple of the float one (ResNet20, batch 128, float32, "
        f"{'CIFAR-10, augmented meanwhile' if options.data_dir else 'random images'})",
        ("row", "time [95 % interval]", "CPU time", "of sgemm's speed", "peak MiB", "goal"),
        rows,
        (
            f"{options.rounds} rounds of {options.steps} steps, in turn; medians of the rounds' ratios. "
            "The share of sgemm's speed counts the multiply-adds of ResNet20's step without teacher.",
        ),
        kept,
    )


def _verdict(found: Ratio, goal: float | None) -> str:
    if goal is None:
        return ""
    if found.high <= goal:
        return f"≤ {goal}: met"
    return f"≤ {goal}: {'median only' if found.median <= goal else 'not met'}"
