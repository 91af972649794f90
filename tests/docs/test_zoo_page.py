"""The table of docs/zoo.md says what files and cards say."""

import pathlib
import re

from tfqkd.models import pretrained_file, pretrained_names

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "zoo.md"
ROW = re.compile(r"^\| `(\S+)` \| .+? \| \d+ \| ([\d.]+) \| ([\d,]+) \|", re.MULTILINE)


def test_every_network_has_its_row():
    rows = {
        name: (accuracy, size)
        for name, accuracy, size in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }
    assert set(rows) == set(pretrained_names())
    for name, (accuracy, size) in rows.items():
        file = pretrained_file(name)
        assert size == f"{file.stat().st_size:,}"
        assert f"reaches **{accuracy} %**" in file.with_suffix(".md").read_text(encoding="utf-8")
