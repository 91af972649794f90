"""`python -m benchmarks [PART ...]`: prints a table for each part and keeps it as JSON and Markdown."""

import argparse
import importlib
import pathlib
import sys

from benchmarks.keras3 import GROUPS

PARTS = {
    "steps": "benchmarks.training_steps",
    "keras3": "benchmarks.keras3",
    "peers": "benchmarks.peers_part",
    "bfloat16": "benchmarks.bfloat16",
    "pipeline": "benchmarks.pipeline",
    "streams": "benchmarks.streams",
    "startup": "benchmarks.startup",
    "integers": "benchmarks.integers",
    "methods": "benchmarks.methods",
}


def main() -> int:
    """Parses the parts and runs them in their order."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures tfqkd on this machine: contestants take turns, and the figures are ratios of "
        "medians with their 95 % intervals. Let nothing else run meanwhile.",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--steps", type=int, default=10, help="steps in a turn (default: 10)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (default: 15)")
    parser.add_argument(
        "--data_dir",
        default="",
        help="where TFDS keeps CIFAR-10, for steps, pipeline and startup",
    )
    parser.add_argument(
        "--rows",
        default="",
        help="of integers: a regular expression; rows whose network and file match are measured, and the "
        "float files they are compared with (default: all)",
    )
    parser.add_argument(
        "--output",
        default="runs/benchmarks",
        help="directory of the results (default: %(default)s)",
    )
    parser.add_argument(
        "--groups",
        nargs="+",
        choices=list(GROUPS),
        help="for keras3: what to measure (default: all); the result is named after them",
    )
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown or options.steps < 1 or options.rounds < 1:
        parser.error(
            f"unknown part: {', '.join(unknown)}; known: {', '.join(PARTS)}"
            if unknown
            else "--steps and --rounds must be 1 or more"
        )
    failed = False
    for name in options.parts or PARTS:
        try:
            result = importlib.import_module(PARTS[name]).measure(options)
        except RuntimeError as error:
            # The other parts are still worth their time.
            print(f"\n{name} has no result: {error}\n", file=sys.stderr, flush=True)
            failed = True
            continue
        print(f"\n{result.markdown()}\n", flush=True)
        result.write(pathlib.Path(options.output))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
