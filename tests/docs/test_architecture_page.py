"""What docs/architecture.md tells a newcomer to change is there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Where do I add")[2]
PLACES = [name for name in re.findall(r"`([\w/.*]+)`", PAGE) if "/" in name and "NAME" not in name]
# `NAME` in `file`, `NAME` (`file`), and `file` ... `NAME` of a row's second column.
NAMES = re.findall(r"`(\w+)`,? (?:in|of|\() ?`([\w/]+\.py)`", TABLE)


@pytest.mark.parametrize("place", sorted(set(PLACES)))
def test_a_place_of_the_page_is_there(place):
    roots = (ROOT, ROOT / "tfqkd")
    assert any(found for root in roots for found in root.glob(place.rstrip("/")))


@pytest.mark.parametrize(("name", "file"), sorted(set(NAMES)))
def test_a_name_of_the_page_is_in_its_file(name, file):
    assert re.search(rf"\b{name}\b", (ROOT / "tfqkd" / file).read_text(encoding="utf-8"))


def test_the_page_answers_a_newcomers_questions():
    asked = re.findall(r"^\| an? (\w+(?: \w+)*?) \|", TABLE, re.MULTILINE)
    assert {"soft loss", "method", "format", "data set", "flag"} <= set(asked)
    assert "quantizer of weights" in asked
