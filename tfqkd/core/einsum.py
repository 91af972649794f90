"""Which axes of a kernel an einsum turns into output channels."""


def channel_axes(equation: str) -> tuple[int, ...]:
    """Returns the axes of the kernel that the output has and the input has not.

    Args:
        equation: Of input and kernel: "abc,cde->abde" has the last two axes of the kernel.
    """
    operands, output = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return tuple(
        axis for axis, label in enumerate(kernel) if label in output and label not in inputs
    )
