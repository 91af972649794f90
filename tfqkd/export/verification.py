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
from tfqkd.runtime.signature import INPUT, OUTPUT
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
    """How far a file's logits are from the Keras model's.

    Attributes:
        max_difference: Largest |difference| over all images and classes.
        agreement: Share of the images with the same best class.
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
                "`path` must lie in a directory that can be written. "
                f"Received: {path.absolute()}: {error}. "
                "Choose another path, or change the directory's permissions."
            ) from error
        yield draft


def verify(
    runner: Sequence[str],
    draft: pathlib.Path,
    images: np.ndarray,
    expected: np.ndarray,
    tolerance: float,
) -> Agreement:
    """Runs a file in a child process and compares its logits with the expected ones.

    Args:
        runner: Arguments of the Python interpreter that start the file's runtime; the paths of the
            file, of an .npz file with `images`, and of one for `logits` are added to them.
        draft: The file.
        images: float32 [n, H, W, C] in 0..255.
        expected: float32 [n, classes], finite.
        tolerance: By how much a logit may differ, relative to max(1, largest |expected|).

    Returns:
        The agreement.

    Raises:
        ExportError: If the child crashes, fails or hangs, or its logits are not finite, too far
            from the expected ones, or place another class first.
    """
    received = run_file(runner, draft, images)
    rule = f"An exported file must compute what the Keras model computes ({draft.name})"
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
    chosen = received.argmax(axis=1)
    lost = expected.max(axis=1) - expected[np.arange(len(expected)), chosen]
    if (lost > allowed).any():
        raise ExportError(
            f"{rule}: the same best class, but for ties. Received: another one for "
            f"{np.count_nonzero(lost > allowed)} of {len(lost)} images. {_ADVICE}"
        )
    return Agreement(difference, float((chosen == expected.argmax(axis=1)).mean()))


def run_file(runner: Sequence[str], draft: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """Returns what a file computes in a child process; see `verify`.

    Raises:
        ExportError: If the child crashes, fails or hangs.
    """
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as directory:
        inputs, outputs = (pathlib.Path(directory) / name for name in ("images.npz", "logits.npz"))
        np.savez(inputs, allow_pickle=False, **{INPUT: images})
        # -P: the working directory holds no modules of ours.
        command = [sys.executable, "-P", *runner, str(draft), str(inputs), str(outputs)]
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
                f"Received: no answer from {draft.name} for {len(images)} images. "
                "Nothing was written. Verify it on fewer images."
            ) from error
        if child.returncode:
            raise ExportError(
                f"An exported file must run in its runtime ({draft.name}). "
                f"Received: {_ending(child)}. {_ADVICE}"
            )
        with np.load(outputs, allow_pickle=False) as arrays:
            return arrays[OUTPUT]


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
