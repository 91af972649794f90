"""No wrong file: a new one is run in a process of its own before it replaces the old one."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from tfqkd.export.report import Report
from tfqkd.runtime.inputs import Arrays
from tfqkd.storage import staged

TIMEOUT_SECONDS = 1800.0
"""When a child process is given up: far above what 10,000 images take."""


_ADVICE = "Nothing was written. Export to another format."


class ExportError(RuntimeError):
    """A model cannot be exported; nothing was written, and an earlier file is as it was.

    Attributes:
        reports: Of an export to several formats, the files that are right and were written.
    """

    def __init__(self, message: str, reports: Sequence[Report] = ()) -> None:
        super().__init__(message)
        self.reports = tuple(reports)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far a file's outputs are from the Keras model's.

    Attributes:
        max_difference: Largest |difference| over all examples, outputs and classes.
        agreement: Share of the examples with the same best class; of pixels or steps where each has one, and
            the least of several outputs.
    """

    max_difference: float
    agreement: float


@contextlib.contextmanager
def staged_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Does as `tfqkd.storage.staged`, for an exported file.

    Raises:
        ExportError: If its directory cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            draft = stack.enter_context(staged(path))
        except OSError as error:
            raise ExportError(
                "`path` must be in a directory that can be written. "
                f"Received: {path.absolute()}: {error}. "
                "Choose another path, or change the directory's permissions."
            ) from error
        yield draft


def verify(
    runner: Sequence[str],
    draft: pathlib.Path,
    inputs: Arrays,
    expected: Arrays,
    tolerance: float,
) -> Agreement:
    """Runs a file in a child process and compares its outputs with the expected ones.

    Args:
        runner: Arguments of the Python interpreter that start the file's runtime; the paths of the
            file, of an .npz file with its inputs, and of one for its outputs are added to them.
        draft: The file.
        inputs: Batches of n examples by name, such as `images`, float32 [n, H, W, C] in 0..255.
        expected: What it must return, by name: float32 [n, ..., classes], finite.
        tolerance: By how much an output may differ, relative to max(1, its largest |expected|).

    Returns:
        The agreement.

    Raises:
        ExportError: If the child crashes, fails or hangs, or its logits are not finite, too far
            from the expected ones, or place another class first.
    """
    received = run_file(runner, draft, inputs)
    rule = f"An exported file must compute what the Keras model computes ({draft.name})"
    if len(expected) == len(received) == 1:
        # A file of one output need not say what it calls it.
        received = dict(zip(expected, received.values(), strict=True))
    if set(received) != set(expected):
        raise ExportError(
            f"{rule}: the outputs {', '.join(expected)}. Received: {', '.join(received)}. {_ADVICE}"
        )
    found = [_compared(received[name], expected[name], tolerance, rule) for name in expected]
    return Agreement(
        max(each.max_difference for each in found), min(each.agreement for each in found)
    )


def _compared(received: np.ndarray, expected: np.ndarray, tolerance: float, rule: str) -> Agreement:
    if received.shape != expected.shape or not np.isfinite(received).all():
        bad = received.size - np.count_nonzero(np.isfinite(received))
        raise ExportError(
            f"{rule}: finite logits of shape {expected.shape}. "
            f"Received: shape {received.shape}, {bad} of them not finite. {_ADVICE}"
        )
    difference = float(np.abs(received - expected).max())
    allowed = tolerance * max(1.0, float(np.abs(expected).max()))
    if difference > allowed:
        raise ExportError(
            f"{rule}: to {allowed:.1e}. "
            f"Received: logits that differ by up to {difference:.1e}. {_ADVICE}"
        )
    chosen = received.argmax(axis=-1)
    best = np.take_along_axis(expected, chosen[..., np.newaxis], axis=-1)[..., 0]
    lost = expected.max(axis=-1) - best
    if (lost > allowed).any():
        raise ExportError(
            f"{rule}: the same best class, but for ties. Received: another one for "
            f"{np.count_nonzero(lost > allowed)} of {lost.size} {_what(lost)}. {_ADVICE}"
        )
    return Agreement(difference, float((chosen == expected.argmax(axis=-1)).mean()))


def _what(decisions: np.ndarray) -> str:
    return "images" if decisions.ndim == 1 else "decisions"


def run_file(runner: Sequence[str], draft: pathlib.Path, inputs: Arrays) -> Arrays:
    """Returns what a file computes in a child process, by name; see `verify`.

    Raises:
        ExportError: If the child crashes, fails or hangs.
    """
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        given, found = (pathlib.Path(directory) / f"{name}.npz" for name in ("inputs", "outputs"))
        np.savez(given, allow_pickle=False, **inputs)
        # -P: the working directory holds no modules of ours.
        command = [sys.executable, "-P", *runner, str(draft), str(given), str(found)]
        try:
            child = subprocess.run(
                command,
                env=child_environment(),
                timeout=TIMEOUT_SECONDS,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ExportError(
                f"The runtime must answer within {TIMEOUT_SECONDS:.0f} s. "
                f"Received: no answer from {draft.name} for {len(next(iter(inputs.values())))} examples. "
                "Nothing was written. Verify it on fewer examples."
            ) from error
        if child.returncode:
            raise ExportError(
                f"An exported file must run in its runtime ({draft.name}). "
                f"Received: {_ending(child)}. {_ADVICE}"
            )
        with np.load(found, allow_pickle=False) as arrays:
            return dict(arrays)


def child_environment() -> dict[str, str]:
    """Returns the environment of a child that finds this very tfqkd and leaves the GPU alone."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": "-1"}


def _ending(child: subprocess.CompletedProcess[str]) -> str:
    if child.returncode < 0:
        return f"the process was ended by {signal.Signals(-child.returncode).name}"
    last = [line for line in child.stderr.splitlines() if line.strip()][-1:]
    return f"exit code {child.returncode}: {' '.join(last) or 'no message'}"
