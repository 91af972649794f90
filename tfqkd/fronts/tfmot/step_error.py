"""The error of a step that is still being traced."""


def step_error(message: str) -> ValueError:
    """Returns a `ValueError` that TensorFlow passes on as it is: one line, not the story of its own calls.

    Args:
        message: What the error says.
    """
    error = ValueError(message)
    # AutoGraph leaves an error with this attribute alone; all others it writes again with their traces.
    error.ag_pass_through = True  # type: ignore[attr-defined]
    return error


def is_step_error(error: BaseException) -> bool:
    """Returns whether an error is one of `step_error`."""
    return hasattr(error, "ag_pass_through")
