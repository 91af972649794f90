"""No method and no soft loss is left out of docs/methods.md."""

import pathlib
import re

from tfqkd.recipe.distil import SOFT_LOSSES
from tfqkd.recipe.methods import METHODS

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_every_method_and_soft_loss_has_a_row_and_every_method_a_command():
    for name in METHODS:
        assert re.search(rf"--quantized\.methods=[a-z_,]*\b{name}\b", PAGE), name
    for name in {*METHODS, *SOFT_LOSSES} - {"none"}:
        assert re.search(rf"^\| .*`{name}`", PAGE, re.MULTILINE), name
