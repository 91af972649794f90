"""`python -m benchmarks.accelerator.run rows|warm|speed`: runs of `bin/train`, several at once.

`rows` trains the rows of the table, `warm` each of them for an epoch before the data is there, so that their
programs are compiled; `speed` times programs. `--flags` are for every `bin/train`, before those of its row.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks.accelerator import arrays, speed

ROOT = pathlib.Path(__file__).parents[2]
PLAN = pathlib.Path(__file__).with_name("rows.txt")
OPTIONS = {"data": "data", "folder": "runs/accelerator", "dataset": "cifar100", "plan": str(PLAN)}
OPTIONS |= {"rows": ".*", "seeds": 3, "flags": "", "processes": 1, "seconds": 1e9, "turn": 6.0}
NETWORK = re.compile(r"\{(.+?)\}")


class Row(NamedTuple):
    """A line of the plan: `needs` are the networks that its flags name, `after` those that it waits for."""

    name: str
    flags: list[str]
    needs: list[str]
    after: list[str]


def plan(text: str, chosen: str, seeds: int) -> list[Row]:
    """Returns the rows that a regular expression matches, and those whose networks they need."""
    tiers = [block.strip().splitlines() for block in re.split(r"(?m)^#.*\n", text) if block.strip()]
    lines: dict[str, None] = {}
    for tier in tiers:
        for seed in range(seeds):
            lines |= dict.fromkeys(re.sub(r"\bS\b", str(seed), line) for line in tier)
    rows = []
    for name, *words in map(str.split, lines):
        flags = [word for word in words if word[0] == "-" and f"{{{name}:" not in word]
        after = [word[1:] for word in words if word[0] == "&"]
        rows.append(Row(name, flags, NETWORK.findall(" ".join(flags)), after))
    wanted: set[str] = set()
    for row in reversed(rows):
        if row.name in wanted or re.fullmatch(chosen, row.name):
            wanted |= {row.name, *(each.partition(":")[0] for each in row.needs)}
    return [row for row in rows if row.name in wanted]


def start(o: argparse.Namespace, name: str, flags: list[str]) -> subprocess.Popen:
    """Starts a run of `bin/train` in a directory of that name."""
    fixed = [f"--flagfile={ROOT}/configs/{o.dataset}.flags", f"--dataset=arrays:{o.file}"]
    fixed += ["--run.keras=3", "--formats=", "--run.checkpoints_kept=2"]
    fixed += [f"--run_dir={o.folder / name}", f"--products={o.folder / 'products'}"]
    cache = {"COMPILATION_CACHE_DIR": o.cache, "PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": -1}
    # Small programs too: on a GPU each initial value of a network has one.
    cache |= {"PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0}
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.15", **os.environ, "KERAS_BACKEND": "jax"}
    environment |= {f"JAX_{variable}": str(value) for variable, value in cache.items()}
    command = [str(ROOT / "bin/train"), *fixed, *o.flags, *flags]
    with (o.folder / f"{name}.txt").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def network(folder: pathlib.Path, which: str) -> str:
    """Returns the path of a network, ROW:ROLE; "" as long as it is not there."""
    row, _, role = which.partition(":")
    uses = folder / row / "uses.json"
    names = json.loads(uses.read_text())["products"] if uses.exists() else []
    paths = [folder / "products" / each / "model.keras" for each in names if each.startswith(role)]
    return str(paths[-1]) if paths and paths[-1].exists() else ""


def train(o: argparse.Namespace) -> int:
    """Trains rows in their order, each when a process is free and what it needs is there.

    When the time is up the runs are asked to stop; each keeps its last epoch.
    """
    rows = plan(pathlib.Path(o.plan).read_text(encoding="utf-8"), o.rows, o.seeds)
    left = [row for row in rows if not (o.folder / row.name / "results.json").exists()]
    names, failed, late = {row.name for row in left}, 0, False
    running: dict[str, subprocess.Popen] = {}
    while left or running:
        if time.time() > o.deadline and not late:
            late, left = True, []
            for child in running.values():
                child.terminate()
        for row in [*left]:
            waits = [each for each in row.after if each.partition(":")[0] in names]
            networks = {each: network(o.folder, each) for each in (*row.needs, *waits)}
            if len(running) < o.processes and all(networks.values()):
                flags = [NETWORK.sub(lambda m: networks[m[1]], flag) for flag in row.flags]  # noqa: B023 (at once)
                running[row.name] = start(o, row.name, flags)
                left.remove(row)
        if not running:
            break
        time.sleep(0.2)
        for name, child in [*running.items()]:
            if child.poll() is not None:
                del running[name]
                failed += child.returncode != 0 and not late
                print(f"{time.strftime('%X')} {name}: {told(o.folder, name)}", flush=True)
    if left:
        print(f"Left out, for what they need was not made: {', '.join(row.name for row in left)}")
    return failed


def told(folder: pathlib.Path, name: str) -> str:
    """Returns what a row that has ended reached, or said last."""
    results = folder / name / "results.json"
    if not results.exists():
        return (folder / f"{name}.txt").read_text().strip().rpartition("\n")[2]
    models = json.loads(results.read_text())["models"]
    return ", ".join(f"{each['label']} {100 * each['accuracy']:.2f} %" for each in models)


def main() -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("rows", "warm", "speed"))
    for name, default in OPTIONS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    o = parser.parse_args()
    o.flags, o.deadline = o.flags.split(), time.time() + o.seconds
    folder = pathlib.Path(o.folder).absolute()
    o.cache, o.folder = folder / "cache", folder / (o.dataset if o.what == "rows" else o.what)
    o.folder.mkdir(parents=True, exist_ok=True)
    o.file = arrays.make(pathlib.Path(o.data).absolute() / o.dataset, real=o.what == "rows")
    if o.what == "warm":
        o.seeds = 1
        o.flags += ["--training.epochs=1", "--quantized.training.epochs=1"]
    return speed.measure(o, start) if o.what == "speed" else train(o)


if __name__ == "__main__":
    sys.exit(main())
