"""How long integer files take on the stock runtimes, against LiteRT's float file of the same network."""

import argparse
import pathlib
import re
import tempfile
from collections.abc import Callable

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.integer_files import FLOAT, Files
from benchmarks.result import Result

NETWORKS = (("resnet20", 32), ("mobilenetv2_0.5", 96))
THREADS = (1, 2)
_GOAL_WITH_VNNI, _GOAL_WITHOUT = 0.55, 0.9
_CPU_INFO = pathlib.Path("/proc/cpuinfo")


def measure(options: argparse.Namespace) -> Result:
    """Lets each network's files take turns, with one thread and with two."""
    has_vnni = "vnni" in (_CPU_INFO.read_text() if _CPU_INFO.exists() else "")
    goal = _GOAL_WITH_VNNI if has_vnni else _GOAL_WITHOUT
    rows, data = [], {}
    with tempfile.TemporaryDirectory() as directory:
        for network, size in NETWORKS:
            chosen = _chosen(network, options.rows)
            files = dict(Files(network, size, pathlib.Path(directory) / network).write(chosen))
            if set(files) <= {FLOAT}:
                continue
            for threads in THREADS:
                contestants = [
                    Contestant(name, ["-m", "benchmarks.integers_row", str(path), str(threads)])
                    for name, path in files.items()
                ]
                turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
                if failed:
                    raise RuntimeError(f"a file does not run: {failed}")
                for name, path in files.items():
                    found = ratio(turns[name].wall, turns[FLOAT].wall)
                    met = "met" if found.median <= goal else "not met"
                    wanted = f"≤ {goal}: {met}" if name.startswith("litert-w2a8") else ""
                    size_bytes = f"{path.stat().st_size:,}"
                    rows.append((network, threads, name, size_bytes, str(found), wanted))
                    data[f"{network}, {threads}, {name}"] = turns[name].wall
    return Result(
        "integers",
        "Latency of one image on the stock runtime, as a multiple of LiteRT's float32 file's",
        ("network", "threads", "file", "bytes", "latency", "goal"),
        rows,
        (
            f"Of random weights; {_processor()}, {'with' if has_vnni else 'without'} VNNI. A turn is "
            f"{options.steps} times 20 images, one at a time.",
        ),
        data,
    )


def _chosen(network: str, rows: str) -> Callable[[str], bool]:
    """Returns which files of a network are measured."""
    return lambda name: name == FLOAT or bool(re.search(rows, f"{network}, {name}"))


def _processor() -> str:
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "an unnamed processor"
