"""Every command that a page shows is taken: its flags, and for a training its settings."""

import importlib
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
STAND_INS = {"$NETWORKS", "$ROW", "$TRIAL", "$WEIGHTS"}


def commands(page):
    text = page.read_text(encoding="utf-8")
    lines = [
        line for block in SHELL.findall(text) for line in block.replace("\\\n", " ").splitlines()
    ]
    for line in [*lines, *INLINE.findall(text)]:
        if "bin/" not in line or ".../" in line or "--help" in line:
            continue
        words = shlex.split(line, comments=True)
        # KERAS_BACKEND=jax bin/train ...
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words and words[0].startswith("bin/"):
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
    module = importlib.import_module(f"tfqkd.cli.{program.removeprefix('bin/')}")
    assert module.main([program, *arguments]) == 0
    (command,) = parsed
    if program in ("bin/train", "bin/study"):
        recipe_from_flags(command)


def test_the_pages_show_every_command():
    shown = {words[0] for words in SHOWN}
    assert shown >= {f"bin/{path.name}" for path in (ROOT / "bin").iterdir()}
