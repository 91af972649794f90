"""What is wrong with files, gathered, so that one message names all that has to be mended."""

_NAMED = 10


class Problems:
    """Rules that were broken, and what broke each."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def add(self, rule: str, received: str, advice: str) -> None:
        """Notes what broke a rule; what breaks the same rule is told together."""
        self._found.setdefault((rule, advice), []).append(received)

    def refuse(self) -> None:
        """Raises if there are any.

        Raises:
          ValueError: In one line, each rule with up to ten of those that broke it, and their number.
        """
        if self._found:
            raise ValueError(
                " ".join(
                    f"{rule} Received: {_listed(received)}. {advice}"
                    for (rule, advice), received in self._found.items()
                )
            )


def _listed(received: list[str]) -> str:
    more = len(received) - _NAMED
    return "; ".join(received[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
