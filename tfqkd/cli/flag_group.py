"""The flags under one heading of a command's manual page."""

from collections.abc import Sequence

from absl import flags


class FlagGroup:
    """Defines flags, and keeps what the manual page lists of them.

    Attributes:
        entries: Names of flags; or title and text of an entry for several flags.

    Args:
        values: Where the flags are defined.
    """

    def __init__(self, values: flags.FlagValues) -> None:
        self._values = values
        self.entries: list[str | tuple[str, str]] = []

    def text(self, name: str, help: str, default: str = "") -> None:
        """Defines a flag of any text."""
        flags.DEFINE_string(name, default, help, flag_values=self._values)
        self.entries.append(name)

    def texts(self, name: str, help: str, repeated: bool = False) -> None:
        """Defines a flag of several texts, separated by commas, or given once for each."""
        define = flags.DEFINE_multi_string if repeated else flags.DEFINE_list
        define(name, [], help, flag_values=self._values)
        self.entries.append(name)

    def choice(self, name: str, choices: Sequence[str], help: str, optional: bool = False) -> None:
        """Defines a flag of one of several values: by default the first, or None if it is optional."""
        default = None if optional else choices[0]
        flags.DEFINE_enum(name, default, choices, help, flag_values=self._values)
        self.entries.append(name)

    def switch(self, name: str, help: str, default: bool = False) -> None:
        """Defines a flag that is on or off."""
        flags.DEFINE_bool(name, default, help, flag_values=self._values)
        self.entries.append(name)

    def count(self, name: str, default: int, help: str, lowest: int | None = None) -> None:
        """Defines a flag of a whole number."""
        flags.DEFINE_integer(name, default, help, lower_bound=lowest, flag_values=self._values)
        self.entries.append(name)

    def number(self, name: str, default: float, help: str) -> None:
        """Defines a flag of a number with a fraction."""
        flags.DEFINE_float(name, default, help, flag_values=self._values)
        self.entries.append(name)
