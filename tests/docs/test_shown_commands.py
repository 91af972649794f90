"""Every command that a page shows is taken: its flags, and for a training its settings."""

import importlib
import importlib.util
import pathlib
import re
import shlex

import pytest

from tfqkd.cli.command import Command
from tfqkd.cli.flagfiles import expand
from tfqkd.cli.recipes import recipe_from_flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )?bin/[a-z]+ -[^`]*)`")
# What a page leaves to the reader.
STAND_INS = {"$NETWORKS", "$ROW", "$TERNARY", "$TRIAL", "$WEIGHTS"}


PROGRAM = re.compile(r"(?:bin/|tfqkd-)([a-z]+)")


def shell_lines(page):
    text = page.read_text(encoding="utf-8")
    blocks = [block.replace("\\\n", " ") for block in SHELL.findall(text)]
    return [line for block in blocks for line in block.splitlines()]


def commands(page):
    inline = INLINE.findall(page.read_text(encoding="utf-8"))
    for line in [*shell_lines(page), *inline]:
        if not PROGRAM.search(line) or ".../" in line or "--help" in line:
            continue
        words = shlex.split(line, comments=True)
        # KERAS_BACKEND=jax bin/train ...
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words and PROGRAM.fullmatch(words[0]):
            yield [word for word in words if word not in (*STAND_INS, "...")]


SHOWN = sorted({tuple(words) for page in PAGES for words in commands(page)})


@pytest.mark.parametrize("words", SHOWN, ids=shlex.join)
def test_a_command_of_a_page_is_taken(words, monkeypatch):
    program, *arguments = words
    parsed = []

    def parse(command, argv, run):
        given = list(expand(argv[1:], ROOT))
        command.prepare(given)
        assert command.flags([argv[0], *given])[1:] == []
        parsed.append(command)
        return 0

    monkeypatch.setattr(Command, "main", parse)
    monkeypatch.chdir(ROOT)
    name = PROGRAM.fullmatch(program)[1]
    assert importlib.import_module(f"tfqkd.cli.{name}").main([program, *arguments]) == 0
    (command,) = parsed
    if name in ("train", "study"):
        recipe_from_flags(command)


def test_the_pages_show_every_command():
    shown = {words[0] for words in SHOWN}
    assert shown >= {f"bin/{path.name}" for path in (ROOT / "bin").iterdir()}


def found(pattern):
    """What a pattern finds in the lines of all pages, and in their text between backticks."""
    for page in PAGES:
        inline = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
        for line in [*shell_lines(page), *inline]:
            yield from re.findall(pattern, line)


def test_the_pages_name_targets_of_make_that_are_there():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(found(r"^make ([\w-]+)"))
    assert {"quickstart", "test", "docs"} <= named <= set(targets)


def test_the_pages_name_programs_of_python_that_are_there():
    modules = set(found(r"^(?:\S*/)?python -m ((?:tfqkd|benchmarks)[\w.]*)"))
    scripts = set(found(r"^(?:\S*/)?python ([\w/]+\.py)"))
    assert modules
    assert scripts
    assert all(importlib.util.find_spec(name) for name in modules)
    assert all((ROOT / name).is_file() for name in scripts)
