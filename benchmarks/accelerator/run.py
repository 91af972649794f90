"""`python -m benchmarks.accelerator.run rows|speed|warm`: trains rows, times programs, compiles them."""

import argparse
import json
import multiprocessing
import os
import pathlib
import sys
import time
from typing import Any

OPTIONS: dict[str, Any] = {"data": pathlib.Path("data"), "folder": pathlib.Path("runs/accelerator")}
OPTIONS |= {"dataset": "cifar100", "student": "resnet20", "teacher": "wrn20x1.5", "rows": ".*"}
OPTIONS |= {"epochs": 200, "last_epochs": 200, "batch": 128, "rate": 0.1, "decay": 0.005}
OPTIONS |= {"coefficient": 0.9, "seeds": 3, "images": 0, "validation": 0, "processes": 1}
OPTIONS |= {"seconds": 1e9, "turn": 4.0, "soft": ["standardized", "dkd", "kd"], "name": ""}
OPTIONS |= {"fixed": [0.5], "batches": [128, 512]}
SHARED = "dataset student teacher epochs last_epochs batch rate decay coefficient images validation"


def work(o: argparse.Namespace, index: int, barrier: Any, rates: Any) -> None:
    """A process: trains what can begin, or times programs together with the others."""
    import jax  # noqa: PLC0415 (in the child: the parent takes no memory of the GPU)

    from benchmarks.accelerator import speed, training  # noqa: PLC0415 (as jax)

    jax.config.update("jax_compilation_cache_dir", str(o.cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    trainer = training.Trainer(o)
    if o.what == "warm":
        trainer.warm()
    elif o.what == "speed":
        speed.measure(trainer, index, barrier, rates)
    else:
        for stage in training.claimed(o):
            trainer.run(stage)


def agree(parser: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """Writes what all rows of a folder share, or ends the command where rows of other settings lie there."""
    file = o.folder / "settings.json"
    settings = {name: getattr(o, name) for name in SHARED.split()} | {"soft": o.soft[0]}
    begun = json.loads(file.read_text()) if file.exists() else settings
    if begun != settings:
        parser.error(
            f"rows of one --name must share {begun}; received {settings}; take another --name"
        )
    file.write_text(json.dumps(settings))


def main() -> int:
    """Starts the processes, and waits for them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("rows", "speed", "warm"))
    for name, default in OPTIONS.items():
        several = isinstance(default, list)
        kind = type(default[0] if several else default)
        parser.add_argument(f"--{name}", type=kind, nargs="+" if several else None, default=default)
    o = parser.parse_args()
    o.deadline = time.time() + o.seconds
    o.cache, o.folder = o.folder / "cache", o.folder / (o.name or o.dataset)
    o.folder.mkdir(parents=True, exist_ok=True)
    if o.what == "rows":
        agree(parser, o)
        for claim in o.folder.glob("*.claim"):
            claim.unlink()
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.15")
    context = multiprocessing.get_context("spawn")
    shared = (context.Barrier(o.processes, timeout=400), context.Array("d", o.processes))
    team = [context.Process(target=work, args=(o, at, *shared)) for at in range(o.processes)]
    for process in team:
        process.start()
    for process in team:
        process.join()
    return max(abs(process.exitcode) for process in team)


if __name__ == "__main__":
    sys.exit(main())
