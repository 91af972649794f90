"""Flag files: one flag a line, in the place of `--flagfile=FILE`."""

import pathlib
from collections.abc import Iterable, Iterator

from absl import flags

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_SHIPPED = (_PACKAGE, _PACKAGE.parent)
"""Where `configs` is: in an installed package, and in a checkout."""


def expand(
    arguments: Iterable[str],
    directory: pathlib.Path | None = None,
    including: tuple[pathlib.Path, ...] = (),
) -> Iterator[str]:
    """Yields the arguments with the flags of its file in the place of every `--flagfile=FILE`.

    absl would look for a file that a flag file names in the working directory. Here it is beside the file
    that names it, so that a flag file means the same from everywhere. `configs/NAME.flags` that is not in the
    working directory is the one that comes with tfqkd.

    Args:
        arguments: Without the program's name.
        directory: What a relative FILE is relative to; the working directory by default.
        including: The files that are being read.

    Raises:
        flags.Error: If a file cannot be read, or includes itself.
    """
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag not in ("--flagfile", "-flagfile"):
            yield argument
            continue
        name = value if equals else next(rest, "")
        file = (directory or pathlib.Path.cwd()) / pathlib.Path(name).expanduser()
        if directory is None and not file.exists():
            file = _shipped(name) or file
        if file in including:
            raise flags.Error(f"A flag file must not include itself. Received: {file}.")
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise flags.Error(
                f"--flagfile must name a flag file that can be read. Received: {name!r} ({error})."
            ) from error
        found = [line for line in lines if line and not line.startswith("#")]
        yield from expand(found, file.parent, (*including, file))


def _shipped(name: str) -> pathlib.Path | None:
    path = pathlib.PurePath(name)
    if path.parent != pathlib.PurePath("configs"):
        return None
    return next((root / path for root in _SHIPPED if (root / path).exists()), None)
