"""How the ternary step grows with batch, width and classes, and with devices that share a batch."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.result import Result

BASE = "ResNet20, batch 128, 10 classes"
VARIANTS = {
    BASE: [],
    "batch 32": ["--batch_size=32"],
    "batch 256": ["--batch_size=256"],
    "width 2": ["--model=wrn20x2"],
    "100 classes": ["--classes=100"],
    "1,000 classes": ["--classes=1000"],
    "10 steps an execution": ["--steps_per_execution=10"],
    "XLA": ["--jit_compile"],
    "2 logical devices": ["--devices=2"],
    "2 worker processes": ["--workers=2"],
}


def measure(options: argparse.Namespace) -> Result:
    """Measures the ternary step with a setting changed, as a multiple of the unchanged one."""
    contestants = [
        Contestant(name, ["-m", "benchmarks.ours", "ternary", *arguments])
        for name, arguments in VARIANTS.items()
    ]
    turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
    rows = []
    for name in VARIANTS:
        if name in failed:
            rows.append((name, "no", failed[name][:80]))
            continue
        found = ratio(turns[name].wall, turns[BASE].wall)
        rows.append((name, str(found), f"{turns[name].peak_mib:.0f}"))
    return Result(
        "growth",
        f"The ternary step with one setting changed, as a multiple of {BASE}",
        ("setting", "time [95 % interval]", "peak MiB"),
        rows,
        (f"{options.rounds} rounds of {options.steps} steps, in turn.",),
        {name: dataclasses.asdict(taken) for name, taken in turns.items()},
    )
