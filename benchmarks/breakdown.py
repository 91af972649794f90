"""Where the time of a step goes, op by op, from TensorFlow's profiler."""

import argparse
import collections
import pathlib
import tempfile

from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.ours import prepare
from benchmarks.result import Result
from tfqkd.compat import tf

_OURS = argparse.Namespace(
    model="resnet20",
    batch_size=128,
    data_dir="",
    classes=10,
    devices=1,
    workers=1,
    mixed_precision="float32",
    jit_compile=False,
    steps_per_execution=1,
)
_SHOWN = 14
_ROWS = (
    "float",
    "ternary",
    "ternary, step anew",
    "ternary, live teacher",
    "ternary, cached logits",
)


def measure(options: argparse.Namespace) -> Result:
    """Profiles some steps of each row; cells are shares of each row's time in ops."""
    shares = {row: _shares(row, options.steps) for row in _ROWS}
    together = sum(shares.values(), collections.Counter())
    order = [op for op, _ in together.most_common(_SHOWN)]
    rows = [(op, *(f"{100 * shares[row][op]:.1f} %" for row in _ROWS)) for op in order]
    rest = [1 - sum(shares[row][op] for op in order) for row in _ROWS]
    rows.append(("all others", *(f"{100 * share:.1f} %" for share in rest)))
    return Result(
        "breakdown",
        "Shares of a step's time in ops, summed over threads",
        ("op", *_ROWS),
        rows,
        data={row: dict(share) for row, share in shares.items()},
    )


def _shares(row: str, steps: int) -> collections.Counter[str]:
    run = prepare(row, _OURS)
    run(3)
    with tempfile.TemporaryDirectory() as directory:
        with tf.profiler.experimental.Profile(directory):
            run(steps)
        (path,) = pathlib.Path(directory).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
    times: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            if not line.name.startswith("tf_Compute"):
                continue
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                # An op is called NODE:TYPE; the other events are the executor's own.
                node, _, kind = name.partition(":")
                if node and kind.removeprefix("_").isalnum():
                    times[kind.removeprefix("_MklNative")] += event.duration_ps
    total = sum(times.values())
    return collections.Counter({op: time / total for op, time in times.items()})
