"""How long integer files take on the stock LiteRT interpreter, against the float file of the same network."""

import argparse
import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np

from benchmarks.contest import Contestant, compete, ratio
from benchmarks.result import Result

NETWORKS = (("resnet20", 32), ("mobilenetv2_0.5", 96))
THREADS = (1, 2)
_FLOAT = "litert-float32"
_GOAL_WITH_VNNI, _GOAL_WITHOUT = 0.55, 0.9
_CPU_INFO = pathlib.Path("/proc/cpuinfo")


def measure(options: argparse.Namespace) -> Result:
    """Lets each network's files take turns, with one thread and with two."""
    has_vnni = "vnni" in (_CPU_INFO.read_text() if _CPU_INFO.exists() else "")
    goal = _GOAL_WITH_VNNI if has_vnni else _GOAL_WITHOUT
    rows, data = [], {}
    with tempfile.TemporaryDirectory() as directory:
        for network, size in NETWORKS:
            files = dict(_files(network, size, pathlib.Path(directory) / network))
            for threads in THREADS:
                contestants = [
                    Contestant(name, ["-m", "benchmarks.integers_row", str(path), str(threads)])
                    for name, path in files.items()
                ]
                turns, failed = compete(contestants, steps=options.steps, rounds=options.rounds)
                if failed:
                    raise RuntimeError(f"a file does not run: {failed}")
                for name, path in files.items():
                    found = ratio(turns[name].wall, turns[_FLOAT].wall)
                    met = "met" if found.median <= goal else "not met"
                    wanted = f"≤ {goal}: {met}" if "w2a8" in name else ""
                    size_bytes = f"{path.stat().st_size:,}"
                    rows.append((network, threads, name, size_bytes, str(found), wanted))
                    data[f"{network}, {threads}, {name}"] = turns[name].wall
    return Result(
        "integers",
        "Latency of one image on the stock LiteRT interpreter, as a multiple of the float32 file's",
        ("network", "threads", "file", "bytes", "latency", "goal"),
        rows,
        (
            f"Of random weights; {_processor()}, {'with' if has_vnni else 'without'} VNNI. A turn is "
            f"{options.steps} times 20 images, one at a time.",
        ),
        data,
    )


def _files(network: str, size: int, directory: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """Writes a network's files; what random weights compute is not looked at."""
    import tfqkd  # noqa: PLC0415 (imports TensorFlow)
    from tfqkd.export.exporter import write_format  # noqa: PLC0415
    from tfqkd.export.formats import FORMATS  # noqa: PLC0415
    from tfqkd.export.source import Source  # noqa: PLC0415

    shape = (size, size, 3)
    images = np.random.default_rng(0).integers(0, 256, (16, *shape)).astype(np.uint8)
    model = tfqkd.models.build(network, shape, 10, mean=[120.0] * 3, std=[60.0] * 3)
    quantized = tfqkd.quantize_model(model, tfqkd.DeployScheme())
    tfqkd.calibrate_activations(quantized, images.astype(np.float32))
    plain, trained = (Source.prepare(each, None, images, images) for each in (model, quantized))
    integers = {"input_type": "uint8", "output_type": "int8"}
    for name, source, form, types in (
        (_FLOAT, plain, _FLOAT, {}),
        ("litert-int8-full (the converter's)", plain, "litert-int8-full", {}),
        ("litert-w2a8", trained, "litert-w2a8", {}),
        ("litert-w2a8, uint8 to int8", trained, "litert-w2a8", integers),
    ):
        changed = dataclasses.replace(FORMATS[form], tolerance=math.inf, **types)
        folder = directory / str(len(types))
        yield name, pathlib.Path(write_format(source, folder, changed).path)


def _processor() -> str:
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "an unnamed processor"
