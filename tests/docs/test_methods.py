"""Every command that docs/methods.md shows is one that the program takes, and no method is left out."""

import pathlib
import re
import shlex

import pytest

from tfqkd.cli import study, train
from tfqkd.recipe.distil import SOFT_LOSSES
from tfqkd.recipe.methods import METHODS

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.startswith("bin/")
]


@pytest.mark.parametrize("words", COMMANDS, ids=shlex.join)
def test_a_command_of_the_page_is_taken(words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    if words[0] == "bin/study":
        assert study.main(["study", *words[1:], "--trials=3"]) == 2
        assert "A grid tries every setting once." in capsys.readouterr().err
        return
    taken = []
    monkeypatch.setattr("tfqkd.cli.train.load_tensorflow", lambda: None)
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *values: taken.append(values))
    assert train.main(words) == 0
    recipe, *_, preset = taken.pop()
    assert preset(recipe)


def test_every_method_and_soft_loss_has_a_command_and_a_row():
    shown = " ".join(shlex.join(words) for words in COMMANDS)
    for name in METHODS:
        assert f"--quantized.methods={name}" in shown
    for name in {*METHODS, *SOFT_LOSSES} - {"none"}:
        assert re.search(rf"^\| .*`{name}`", PAGE, re.MULTILINE), name
