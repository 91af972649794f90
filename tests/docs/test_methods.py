"""docs/methods.md leaves no method out."""

import pathlib
import re
import shlex

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


def test_every_method_and_soft_loss_has_a_command_and_a_row():
    shown = " ".join(shlex.join(words) for words in COMMANDS)
    for name in METHODS:
        assert f"--quantized.methods={name}" in shown
    for name in {*METHODS, *SOFT_LOSSES} - {"none"}:
        assert re.search(rf"^\| .*`{name}`", PAGE, re.MULTILINE), name
