"""Images a second of the training programs, of several processes on one device, and what binds a step."""

import functools
import itertools
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData

from benchmarks.accelerator import programs
from benchmarks.accelerator.rows import Stage
from benchmarks.accelerator.training import Trainer
from benchmarks.result import Result

MATRIX = ("conv", "gemm", "xmma", "cutlass", "cudnn", "cublas", "fprop", "dgrad", "wgrad")
"""Parts of the names of kernels that compute in matrix units; the others move memory."""


def measure(trainer: Trainer, index: int, barrier: Any, rates: Any) -> None:
    """Times each program in 1, 2, 4, ... processes at once; process 0 profiles it and writes the table."""
    o, rows = trainer.o, []
    counts = [2**power for power in range(o.processes.bit_length())]
    headings = ("program", "batch", *(f"images/s by {count}" for count in counts), "µs a step")
    headings += ("kernels", "µs in matrix kernels", "µs in others", "µs idle", "TFLOP/s")
    for name, batch in itertools.product(("float", "ternary", "ternary, live teacher"), o.batches):
        o.batch, steps = batch, len(trainer.train[0]) // batch
        stage = Stage(name, o.student, 10**9, 1e-3, 0, ternary=name != "float")
        state, row, student, teacher = trainer.prepare(stage)
        needed = 3 * operations(student)
        if "teacher" in name:
            teacher = programs.network(o.teacher, **trainer.fixed)
            row["taught"] = jax.device_put(trainer.variables("", o.teacher))
            needed += operations(teacher)
        epochs = trainer.epochs(stage, (state, row, student, teacher))
        for turn in (
            True,
            False,
        ):  # One process compiles; the others find the program in the cache.
            if turn == (index == 0):
                jax.block_until_ready(next(epochs))
            barrier.wait()
        together = []
        for count in counts:
            barrier.wait()
            begun, made = time.perf_counter(), 0
            while index < count and time.perf_counter() < begun + o.turn:
                jax.block_until_ready(next(epochs))
                made += steps * batch
            rates[index] = made / (time.perf_counter() - begun)
            barrier.wait()
            together.append(sum(rates))
        if index == 0:
            took = 1e6 * batch / together[0]
            try:
                kernels, matrix, others = (each / steps for each in profile(o, epochs))
            except (RuntimeError, ValueError) as error:
                # What was timed outlasts a profiler that does not work.
                print(f"No profile: {error}", flush=True)
                kernels = matrix = others = math.nan
            cells = (*together, took, kernels, matrix, others, took - matrix - others)
            cells = (*(f"{each:.0f}" for each in cells), f"{needed * max(together) / 1e12:.1f}")
            rows.append((name, batch, *cells))
            title = f"{o.student}, teacher {o.teacher}, {jax.devices()[0].device_kind}"
            Result("speed", title, headings, rows, (ceilings(),)).write(o.folder)
            print(*rows[-1], flush=True)
        barrier.wait()


def operations(model: Any) -> int:
    """Returns the floating-point operations of a forward pass of one image, of its kernels alone."""
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return sum(2 * math.prod((*each.kernel.shape, *each.output.shape[1:-1])) for each in layers)


def profile(o: Any, epochs: Any) -> tuple[int, float, float]:
    """Returns `spent` of one epoch."""
    with jax.profiler.trace(str(o.folder / "profile")):
        jax.block_until_ready(next(epochs))
    files = (o.folder / "profile").rglob("*.xplane.pb")
    return spent(ProfileData.from_file(str(max(files, key=lambda file: file.stat().st_mtime))))


def spent(data: ProfileData) -> tuple[int, float, float]:
    """Returns the number of kernels on GPUs, the microseconds in matrix kernels, and in the others."""
    gpus = [plane for plane in data.planes if plane.name.startswith("/device:GPU")]
    lines = [line for gpu in gpus for line in gpu.lines if line.name.startswith("Stream")]
    events = [
        (event.name.lower(), event.duration_ns / 1e3) for line in lines for event in line.events
    ]
    matrix = sum(took for name, took in events if any(part in name for part in MATRIX))
    return len(events), matrix, sum(took for _, took in events) - matrix


@functools.cache
def ceilings() -> str:
    """Returns what the device reaches: bytes a second of a copy, operations of a bfloat16 product."""
    size, count = 8192 if jax.default_backend() == "gpu" else 256, 20

    def seconds(function: Any, argument: Any) -> float:
        compiled = jax.jit(function)
        compiled(argument).block_until_ready()
        begun = time.perf_counter()
        for _ in range(count):
            result = compiled(argument)
        result.block_until_ready()
        return (time.perf_counter() - begun) / count

    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16)
    copied = 2 * 4 * size * size * 4 / seconds(lambda x: x + 1, jnp.zeros((4, size, size)))
    product = 2 * size**3 / seconds(lambda x: x @ x, matrix)
    return f"Copy: {copied / 1e12:.2f} TB/s. Product in bfloat16: {product / 1e12:.0f} TFLOP/s."
