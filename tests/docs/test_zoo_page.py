"""The table of docs/zoo.md says what files and cards say."""

import json
import pathlib
import re
import runpy

import pytest

from tfqkd.data.cifar import CLASS_NAMES
from tfqkd.models import pretrained_file, pretrained_names

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "zoo.md"
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


@pytest.mark.parametrize("name", pretrained_names())
def test_the_shares_of_the_classes_are_those_of_the_file(name):
    """Every class has as many test images, so that their mean is what was measured of the whole."""
    dataset = name.rpartition("_")[2]
    shares = json.loads((ROOT / "docs/pictures/classes.json").read_text(encoding="utf-8"))[name]
    if "_w2a8_" in name:
        found = json.loads((ROOT / f"results/integers/{dataset}/figures.json").read_text("utf-8"))
    else:
        files = ROOT / f"results/accelerator/{dataset}/files.json"
        found = json.loads(files.read_text("utf-8"))[name]
    assert len(shares) == len(CLASS_NAMES[dataset])
    assert sum(shares) / len(shares) == pytest.approx(100 * found["accuracy"], abs=0.03)


def test_a_card_of_the_site_has_its_picture_behind_its_first_paragraph():
    pytest.importorskip("mkdocs", reason="needs mkdocs: pip install '.[dev]'")
    with_picture = runpy.run_path(str(ROOT / "docs/theme/hooks.py"))["with_picture"]
    for name in pretrained_names():
        source = f"tfqkd/models/weights/{name}.md"
        page = with_picture("# title\n\nfirst\n\n| | |", source)
        picture = f"](../../../docs/pictures/{name}.svg)"
        assert page.split("\n\n")[2].endswith(picture)
    assert with_picture("# a\n\nb\n\nc", "CHANGELOG.md") == "# a\n\nb\n\nc"
