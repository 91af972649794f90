"""The same step in other tools: how many times as long it takes as ours."""

import argparse
import dataclasses

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.environments import python_of
from benchmarks.result import Result

ROWS = ("float", "ternary", "ternary, live teacher")
PEERS = {
    "larq 0.14, tf_keras": ("larq", ["benchmarks/peers/larq_row.py"], []),
    "Keras 3.15, HGQ2": ("keras", ["benchmarks/peers/keras_row.py"], []),
    "PyTorch 2.13, Brevitas": ("torch", ["benchmarks/peers/torch_row.py"], []),
    "PyTorch compiled, Brevitas": ("torch", ["benchmarks/peers/torch_row.py"], ["compiled"]),
}


def measure(options: argparse.Namespace) -> Result:
    """Measures each row with all peers in turn; a ratio above 1 says that ours is faster."""
    rows, data, notes = [], {}, []
    for row in ROWS:
        contestants, missing = [Contestant("ours", ["-m", "benchmarks.ours", row])], {}
        for peer, (environment, command, arguments) in PEERS.items():
            try:
                python = python_of(environment)
            except RuntimeError as error:
                missing[peer] = str(error)
                continue
            contestants.append(Contestant(peer, [*command, row, *arguments], python))
        turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
        missing |= failed
        cells = []
        for peer in PEERS:
            if peer in missing:
                cells.append("no")
                notes.append(f"{row}, {peer}: {missing[peer]}")
                continue
            found = ratio(turns[peer].wall, turns["ours"].wall)
            cells.append(str(found))
            data[f"{row} / {peer}"] = {
                "ratio": dataclasses.asdict(found),
                "ours": dataclasses.asdict(turns["ours"]),
                "peer": dataclasses.asdict(turns[peer]),
            }
        rows.append((row, *cells))
        peaks = ", ".join(f"{name} {taken.peak_mib:.0f}" for name, taken in turns.items())
        notes.append(f"Peak MiB, {row}: {peaks}.")
    rows.append(("ternary, cached logits", *["no"] * len(PEERS)))
    notes.append("Cached logits: none of the peers keeps a teacher's logits for augmented views.")
    return Result(
        "peers",
        "Other tools' time for the same step, as a multiple of ours (ResNet20, batch 128, float32)",
        ("row", *PEERS),
        rows,
        (
            f"{options.rounds} rounds of {options.steps} steps, all in turn; median [95 % interval].",
            *notes,
        ),
        data,
    )
