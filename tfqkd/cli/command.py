"""What all commands share: flags, manual page, errors and exit statuses."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags

from tfqkd.cli.flag_group import FlagGroup
from tfqkd.cli.flagfiles import expand
from tfqkd.process.interruption import Interrupted, orderly
from tfqkd.process.kept_out import keep_out
from tfqkd.process.resources import explained

USAGE_ERROR = 2
_IN_CHECKOUT = re.compile(r"(?<![\w/])bin/(?=[a-z])")
_PACKAGE = pathlib.Path(__file__).resolve().parent.parent


class Command:
    """A command line program.

    Args:
        name: As the user types it.
        description: First paragraph of its manual page.
        examples: Command lines shown in the manual page.
    """

    def __init__(self, name: str, description: str, examples: Sequence[str]) -> None:
        self.name = name
        self.description = description
        self.examples = examples
        self.flags = flags.FlagValues()
        self.renamed: Callable[[str], str] = lambda name: ""
        self.prepare: Callable[[Sequence[str]], None] = lambda arguments: None
        self._groups: dict[str, FlagGroup] = {}
        self._printing = FlagGroup(self.flags)
        self._printing.switch(
            "quiet", "Print nothing but errors, on stderr; what is written is the same."
        )
        self._program = ""

    def group(self, name: str) -> FlagGroup:
        """Returns what defines flags under a heading of the manual page."""
        return self._groups.setdefault(name, FlagGroup(self.flags))

    def describe(self, name: str, title: str, text: str) -> None:
        """Puts an entry that is no flag of one name under a heading of the manual page."""
        self.group(name).entries.append((title, text))

    def choose_output(self, keys: str) -> None:
        """Defines `--output`.

        Args:
            keys: Of the JSON object, in words.
        """
        self._printing.choice(
            "output",
            ["table", "json"],
            f"json prints one JSON object to stdout, and nothing else there: {keys}",
        )

    @property
    def is_json(self) -> bool:
        """Whether stdout gets one JSON object, and nothing else."""
        return "output" in self.flags and self.flags["output"].value == "json"

    def main(self, argv: Sequence[str] | None, run: Callable[[], None]) -> int:
        """Parses the command line into `self.flags`, calls `run` and returns the exit status.

        An error that tfqkd raised becomes one message; any other keeps its traceback.

        Args:
            argv: Program name and arguments; `sys.argv` if None.
            run: Does the work; reads `self.flags`.
        """
        argv = list(sys.argv if argv is None else argv)
        self._program = argv[0]
        if any(argument in ("--help", "-help", "-h") for argument in argv[1:]):
            try:
                print(self._as_typed(self.manual()), flush=True)
            except BrokenPipeError:
                # A pager or `head` closed the page early; nothing is left to be written at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        try:
            arguments = list(expand(argv[1:]))
            self.prepare(arguments)
            rest = self.flags([argv[0], *arguments])[1:]
            if rest:
                raise flags.Error(
                    f"There are no arguments beside flags. Received: {' '.join(rest)}."
                )
        except (flags.Error, ValueError) as error:  # absl has a ValueError for --noflag=value.
            return self._fail(self._with_new_name(error), self._advice, USAGE_ERROR)
        try:
            with orderly(), explained(), self._quiet():
                run()
        except UsageError as error:
            return self._fail(error, self._advice, USAGE_ERROR)
        except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
            if not _is_ours(error):
                raise
            return self._fail(error, "", 1)
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, Interrupted) else signal.SIGINT
            words = shlex.join(self.command_line(argv))
            # A worker goes on only as the one that it was.
            cluster = os.environ.get("TF_CONFIG")
            words = f"TF_CONFIG={shlex.quote(cluster)} {words}" if cluster else words
            out = sys.stderr if self.is_json else sys.stdout
            print(f"\n{error}\nTo go on: {words}", file=out, flush=True)
            return 128 + number
        return 0

    def command_line(self, argv: Sequence[str]) -> list[str]:
        """Returns the words that give this command again in the working directory.

        Args:
            argv: Program name, as Python knows it, and arguments.
        """
        if not argv[0].endswith(".py"):
            return list(argv)
        # As a module the program is known by the path of its source, not of what called it.
        return [_typed(self.name), *argv[1:]]

    def print_next(self, name: str, *arguments: str) -> None:
        """Prints the command to type next.

        Args:
            name: Of a program of tfqkd.
            *arguments: Its flags.
        """
        # What pip installs is beside this program.
        in_checkout = self._program.endswith(".py")
        program = _typed(name) if in_checkout else f"tfqkd-{name}"
        print(f"Next            {shlex.join([program, *arguments])}", flush=True)

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Drops what is printed, if that is asked for; one JSON object is no chatter."""
        if self.is_json or not self.flags["quiet"].value:
            yield
            return
        with (
            pathlib.Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            yield

    def manual(self) -> str:
        """Returns the manual page: description, examples, and the flags by group."""
        lines = [f"NAME\n    {self.name}\n\nDESCRIPTION"]
        lines += flags.text_wrap(self.description, 96, "    ").splitlines()
        lines += ["", "EXAMPLES", *(f"    {example}" for example in self.examples)]
        for name, group in {**self._groups, "how to print it": self._printing}.items():
            lines += ["", name.upper()]
            for entry in group.entries:
                title, text = entry if isinstance(entry, tuple) else self._entry(entry)
                lines += [f"    {title}", *flags.text_wrap(text, 96, "        ").splitlines()]
        lines += ["", "FLAG FILES"]
        lines += flags.text_wrap(
            "--flagfile=FILE reads flags from a file, one a line; # starts a comment. Later flags override "
            "earlier ones, so that every flag after it overrides the file. A file may hold --flagfile too; "
            "the other file is beside it. A configs/NAME.flags that is not in the working directory is "
            "the one that comes with tfqkd.",
            96,
            "    ",
        ).splitlines()
        return "\n".join(lines)

    def _entry(self, name: str) -> tuple[str, str]:
        """A flag in the manual page, and what is said about it."""
        flag = self.flags[name]
        default = "" if flag.default in (None, "", []) else f" [{_text(flag.default)}]"
        choices = getattr(flag.parser, "enum_values", None)
        value = f"={'|'.join(choices)}" if choices else f"={flag.flag_type().upper()}"
        title = f"--[no]{name}" if flag.boolean else f"--{name}{value}"
        # absl puts the choices in front of the help; they stand after the flag already.
        return title, flag.help.removeprefix(f"<{'|'.join(choices or ())}>: ") + default

    def _with_new_name(self, error: Exception) -> Exception:
        """The error, or what a flag that is unknown is called now."""
        name = error.flagname if isinstance(error, flags.UnrecognizedFlagError) else ""
        for old, value in ((name, ""), (name.removeprefix("no"), "=false")):
            if self.renamed(old):
                return flags.Error(f"--{name} is now --{self.renamed(old)}{value}.")
        return error

    def _fail(self, error: BaseException, advice: str, status: int) -> int:
        print(
            f"{self.name}: error: {self._as_typed(str(error))}",
            *([advice] if advice else []),
            sep="\n",
            file=sys.stderr,
        )
        return status

    def _as_typed(self, text: str) -> str:
        """A text whose commands are those that pip installs, if this is one of them."""
        return _IN_CHECKOUT.sub("tfqkd-", text) if self._is_installed else text

    @property
    def _is_installed(self) -> bool:
        return pathlib.Path(self._program).name == f"tfqkd-{self.name}"

    @property
    def _advice(self) -> str:
        return f"See {'tfqkd-' if self._is_installed else ''}{self.name} --help."


def print_json(value: dict[str, Any]) -> None:
    """Prints the one object that `--output=json` asks for."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), flush=True)


class UsageError(ValueError):
    """A flag has a value that breaks a rule."""


def load_keras(version: int) -> None:
    """Imports what trains: tf_keras with TensorFlow, or Keras 3 with its backend and nothing else.

    Args:
        version: Of Keras, 2 or 3.
    """
    if version == 2:
        load_tensorflow()
        return
    set_up_tensorflow()
    from tfqkd.fronts import choose

    choose("keras3")
    keras = sys.modules["keras"]
    if keras.backend.backend() != "tensorflow":
        keep_out("tensorflow", "tf_keras", "tensorflow_model_optimization")


def set_up_tensorflow() -> None:
    """Says how TensorFlow computes in this process and its children, wherever it is imported."""
    # Read when TensorFlow is imported. TensorFlow leaves oneDNN off on CPUs without AVX-512, where it
    # doubles the speed of training; a setting of the user's own stays.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def load_tensorflow() -> None:
    """Imports TensorFlow for a command: with oneDNN on, and without its notices."""
    set_up_tensorflow()
    # TensorFlow writes about missing GPUs and oneDNN before it has read its own log level.
    with tempfile.TemporaryFile() as notices:
        stderr = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            from tfqkd.compat import tf
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    tf.get_logger().setLevel("ERROR")


def _typed(name: str) -> str:
    """A program of this checkout, as it is typed in the working directory; else that which pip installs."""
    program = _PACKAGE.parent / "bin" / name
    if not program.exists():
        return f"tfqkd-{name}"
    return f"bin/{name}" if pathlib.Path.cwd() == _PACKAGE.parent else str(program)


def _is_ours(error: BaseException) -> bool:
    # Python's own, met in a line of tfqkd, names no rule and does not say what was received.
    frames = traceback.extract_tb(error.__traceback__)
    here = bool(frames) and pathlib.Path(frames[-1].filename).is_relative_to(_PACKAGE)
    return here and "Received: " in str(error)


def _text(default: object) -> str:
    if isinstance(default, (list, tuple)):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)
