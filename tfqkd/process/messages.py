"""What an error of another package says, short enough to be quoted in one of ours."""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text without its full stop, or its class where it has none."""
    return _lines(error)[0].rstrip(".")


def last_line(error: BaseException) -> str:
    """Returns the last line of an error's text, or its class where it has none."""
    return _lines(error)[-1].strip()


def _lines(error: BaseException) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]
