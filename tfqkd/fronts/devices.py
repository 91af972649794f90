"""Several devices that share a batch: what must hold before they do, in either front."""


def require_even(batch_size: int, devices: int) -> None:
    """Raises ValueError unless the devices share a batch evenly."""
    if batch_size % devices:
        raise ValueError(
            f"`batch_size` must be a multiple of the number of devices. Received: batch_size={batch_size} on "
            f"{devices} devices. Use {-(-batch_size // devices) * devices}, or one_device."
        )


def not_compilable(strategy: str) -> ValueError:
    """Returns the error for XLA on several processors of TensorFlow.

    It adds up gradients inside a compiled step between GPUs alone.
    """
    return ValueError(
        "`jit_compile` on several devices needs GPUs. "
        f"Received: jit_compile=True with strategy={strategy} on CPUs. Leave out --run.jit_compile, or use "
        "--run.strategy=one_device."
    )
