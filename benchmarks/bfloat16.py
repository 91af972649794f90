"""Steps in bfloat16, where the processor computes in it: ours, ours in float32, and PyTorch's."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.environments import python_of
from benchmarks.result import Result

ROWS = ("float", "ternary")
OURS = "ours, mixed_bfloat16"
FLOAT32 = "ours, float32"
PEERS = {
    "PyTorch 2.13 (Brevitas), bfloat16, channels_last": ["bfloat16"],
    "the same, compiled": ["compiled", "bfloat16"],
}


def measure(options: argparse.Namespace) -> Result:
    """Measures each row with all in turn; a ratio above 1 says that ours in bfloat16 is faster."""
    python, rows, data = python_of("torch"), [], {}
    for row in ROWS:
        ours = ["-m", "benchmarks.ours", row]
        contestants = [
            Contestant(OURS, [*ours, "--precision=mixed_bfloat16"]),
            Contestant(FLOAT32, ours),
            *(
                Contestant(name, ["benchmarks/peers/torch_row.py", row, *words], python)
                for name, words in PEERS.items()
            ),
        ]
        turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
        if failed:
            raise RuntimeError(f"{row}: {failed}")
        found = {
            name: ratio(taken.wall, turns[OURS].wall)
            for name, taken in turns.items()
            if name != OURS
        }
        rows.append((row, *map(str, found.values())))
        data[row] = {name: dataclasses.asdict(each) for name, each in found.items()}
    return Result(
        "bfloat16",
        "A step of ResNet20 at batch 128, as a multiple of ours in mixed_bfloat16",
        ("row", FLOAT32, *PEERS),
        rows,
        (
            f"{options.rounds} rounds of {options.steps} steps, all in turn; median [95 % interval].",
        ),
        data,
    )
