"""Which precision this machine computes in."""

import pathlib

from tfqkd.compat import tf

_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}
"""Of /proc/cpuinfo: matrix units and vector instructions for bfloat16 products."""
_CPU_INFO = pathlib.Path("/proc/cpuinfo")
_GPU_CAPABILITY = (8, 0)
"""The first compute capability of NVIDIA GPUs with bfloat16: Ampere's."""


def computes_in_bfloat16() -> bool:
    """Whether what trains has instructions for bfloat16: all GPUs if there are any, else the processor."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return bool(_CPU_FLAGS & _cpu_flags())
    details = map(tf.config.experimental.get_device_details, gpus)
    return all(each.get("compute_capability", (0, 0)) >= _GPU_CAPABILITY for each in details)


def _cpu_flags() -> set[str]:
    # Only Linux has the file; elsewhere no processor is known to have them.
    if not _CPU_INFO.exists():
        return set()
    lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}
