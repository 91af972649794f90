"""Settings of the run itself: seeds, where and how it is computed, checkpoints."""

import dataclasses
import re
from typing import Literal

from tfqkd.recipe.setting import Rule, at_least, between, setting

AUTO_PRECISION = "auto"
PRECISIONS = (AUTO_PRECISION, "float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
_INTERVAL = Rule(
    "minutes such as 10m, steps such as 500, or empty",
    lambda text: re.fullmatch(r"([1-9][0-9]{0,8}m?)?", text),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How a run is computed."""

    seed: int = setting(
        0, "Seed of weights, data order and augmentation.", rule=between(0, 2**31 - 1)
    )
    pretrain_seed: int = setting(
        -1,
        "Seed of teacher and float student; -1 for that of the run. Fix it to share them between seeds.",
        rule=between(-1, 2**31 - 1),
    )
    mixed_precision: str = setting(
        "float32",
        "Compute in float32, or in half precision with float32 variables. auto takes mixed_bfloat16 where "
        "the GPUs (without any, the processor: AMX, AVX512-BF16) compute in it, else float32; a run "
        "resumes with what it started with.",
        choices=PRECISIONS,
    )
    keras: int = setting(
        2,
        "Keras that trains: 2 (tf_keras, through tensorflow-model-optimization) or 3 (on TensorFlow, JAX or "
        "PyTorch, as KERAS_BACKEND says).",
        rule=Rule("2 or 3", lambda version: version in (2, 3)),
    )
    strategy: str = setting(
        "auto",
        "Devices. auto: all GPUs if there are several, one GPU, or the CPU. mirrored: all GPUs, or all "
        "logical CPUs. multi_worker: all devices of the processes that TF_CONFIG names. A run must resume "
        "with as many devices as it started with, unless --run.synchronized_batch_norm.",
        choices=STRATEGIES,
        changes_result=False,
    )
    synchronized_batch_norm: bool = setting(
        False, "Take the statistics of batch norm over all devices' parts of a batch."
    )
    jit_compile: bool = setting(
        False,
        "Compile the training step with XLA; on several devices only if they are GPUs.",
        changes_result=False,
    )
    scan: Literal["auto", "on", "off"] = setting(
        "auto",
        "With --run.keras=3 on JAX: make the steps of an epoch in one compiled call, with the data on the "
        "device. auto does so on accelerators; on a processor it is far slower.",
        choices=("auto", "on", "off"),
        changes_result=False,
    )
    steps_per_execution: int = setting(
        1,
        "Training steps in one call of the compiled function.",
        rule=at_least(1),
        changes_result=False,
    )
    profile: str = setting(
        "",
        "FIRST,LAST: write a TensorBoard profile of these steps of every stage, counted from 1 (calls, with "
        "--run.steps_per_execution); of Keras 3 on JAX alone.",
        changes_result=False,
    )
    deterministic: bool = setting(
        False,
        "Use only operations that always give the same bits; a run that was interrupted then ends with the "
        "same weights and files as one that was not.",
        changes_result=False,
    )
    checkpoint_every: str = setting(
        "10m",
        "Besides after every epoch, write a checkpoint every so many minutes (10m) or steps (500); only "
        "after every epoch if empty, or where --run.scan makes it one call.",
        rule=_INTERVAL,
        changes_result=False,
    )
    checkpoints_kept: int = setting(
        3,
        "How many of the last checkpoints of a stage are kept until it is finished.",
        rule=at_least(1),
        changes_result=False,
    )

    def profiled_steps(self) -> tuple[int, int] | None:
        """Returns the first and last step of `profile`; None without.

        Raises:
            ValueError: If it is not FIRST,LAST with 1 ≤ FIRST ≤ LAST.
        """
        if not self.profile:
            return None
        match = re.fullmatch(r"([1-9][0-9]{0,8}),([1-9][0-9]{0,8})", self.profile)
        first, last = map(int, match.groups()) if match else (1, 0)
        if first > last:
            raise ValueError(
                "`run.profile` must be FIRST,LAST, two steps counted from 1. "
                f"Received: run.profile={self.profile!r}. For example: 20,30."
            )
        return first, last
