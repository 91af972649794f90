"""What this machine has for tfqkd: versions, extras, devices, and what makes trainings slow here."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tfqkd.version import __version__

SHOWN = (
    *("numpy", "tensorflow", "tf-keras", "tensorflow-model-optimization", "keras", "jax", "torch"),
    *("ai-edge-litert", "onnxruntime"),
)
"""The packages whose versions matter most."""
_REQUIREMENT = re.compile(
    r"(?P<package>[\w.-]+)(?:\[(?P<inner>[\w-]+)\])?.*;.*extra == ['\"](?P<extra>[\w-]+)['\"]"
)
"""A package that an extra asks for: `tensorflow[and-cuda]~=2.21.0; extra == "gpu"`."""
_CPU_INFO = pathlib.Path("/proc/cpuinfo")
_SECONDS = 120
_DEVICES = {
    "tensorflow": "import tensorflow as tf; "
    "print(*(d.device_type for d in tf.config.list_physical_devices()))",
    "jax": "import jax; print(*(d.platform.upper() for d in jax.devices()))",
    "torch": "import torch; print('CPU', *['GPU'] * torch.cuda.device_count())",
}
"""For each framework a program that prints its devices; in a process of its own: it may crash."""


@dataclasses.dataclass(frozen=True)
class Checkup:
    """What was found.

    Attributes:
        versions: By package; None where it is not installed.
        missing: By extra, the packages that are not installed.
        devices: By framework, what it computes on, or why it does not load.
        advice: What could be better, a line each.
    """

    versions: Mapping[str, str | None]
    missing: Mapping[str, Sequence[str]]
    devices: Mapping[str, str]
    advice: Sequence[str]


def check_up() -> Checkup:
    """Looks at this machine and this Python; loads each framework in a process of its own."""
    versions = {"tfqkd": __version__, "python": platform.python_version()}
    found: dict[str, str | None] = {**versions, **{name: _version(name) for name in SHOWN}}
    devices = {name: _devices(name) for name in _DEVICES if found[name] is not None}
    missing = _missing_by_extra()
    flags = cpu_flags()
    advice = [
        *_of_onednn(flags, os.environ),
        *_of_bfloat16(flags, devices),
        *_of_gpu(devices, shutil.which("nvidia-smi") is not None),
        *_of_backend(os.environ.get("KERAS_BACKEND", ""), found),
    ]
    return Checkup(found, missing, devices, advice)


def cpu_flags() -> set[str]:
    """Returns what the processor says that it can do; nothing where the system does not tell."""
    if not _CPU_INFO.exists():
        return set()
    lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing_by_extra() -> dict[str, list[str]]:
    if _version("tfqkd") is None:
        return {}
    extras = importlib.metadata.metadata("tfqkd").get_all("Provides-Extra") or []
    return {extra: _lacking("tfqkd", extra) for extra in extras}


def _lacking(package: str, extra: str) -> list[str]:
    """The packages of an extra that are not installed; of an extra's extra too."""
    found = []
    for text in importlib.metadata.requires(package) or []:
        match = _REQUIREMENT.match(text)
        if match is None or match["extra"] != extra:
            continue
        if _version(match["package"]) is None:
            found.append(match["package"])
        elif match["inner"]:
            found += _lacking(match["package"], match["inner"])
    return found


def _devices(framework: str) -> str:
    child = subprocess.run(
        [sys.executable, "-P", "-c", _DEVICES[framework]],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if child.returncode:
        lines = child.stderr.strip().splitlines()
        return f"does not load: {lines[-1] if lines else child.returncode}"
    kinds = child.stdout.split()
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))


def _of_onednn(flags: set[str], environment: Mapping[str, str]) -> list[str]:
    chosen = environment.get("TF_ENABLE_ONEDNN_OPTS")
    if chosen == "0":
        return [
            "TF_ENABLE_ONEDNN_OPTS=0 keeps oneDNN off: training takes twice the time. Unset it."
        ]
    if chosen is None and flags and "avx512f" not in flags:
        return [
            "TensorFlow leaves oneDNN off on this processor (no AVX-512). The commands turn it on; in a "
            "program of your own set TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported."
        ]
    return []


def _of_bfloat16(flags: set[str], devices: Mapping[str, str]) -> list[str]:
    on_gpu = "GPU" in devices.get("tensorflow", "")
    if on_gpu or flags & {"amx_bf16", "avx512_bf16"}:
        what = "GPUs since Ampere compute" if on_gpu else "This processor computes"
        return [f"{what} in bfloat16, which trainings leave unused: --run.mixed_precision=auto."]
    return []


def _of_gpu(devices: Mapping[str, str], has_driver: bool) -> list[str]:
    seen = devices.get("tensorflow", "")
    if has_driver and seen and "GPU" not in seen:
        return ["There is an NVIDIA driver, but TensorFlow sees no GPU: pip install 'tfqkd[gpu]'."]
    return []


def _of_backend(backend: str, versions: Mapping[str, str | None]) -> list[str]:
    if backend in ("jax", "torch") and versions[backend] is None:
        return [f"KERAS_BACKEND={backend} is not installed: pip install 'tfqkd[{backend}]'."]
    return []
