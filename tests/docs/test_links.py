"""Every link of a page leads to a file that is there and a heading that it has; the site has every page."""

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def prose(page):
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_list_begins_behind_an_empty_line(page):
    """Elsewhere than on GitHub, a list is a part of the paragraph before it."""
    blocks = re.split(r"\n\s*\n", prose(page))
    for block in blocks:
        lines = block.strip("\n").splitlines()
        starts = [line.lstrip().startswith(("- ", "1. ")) for line in lines]
        heading = bool(lines) and lines[0].startswith("#")
        assert not any(starts) or starts[0] or heading, block


def test_the_site_has_every_page_once():
    # The tags of the theme's own objects are not read.
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    found = list(_pages(settings["nav"]))
    cards = [f"zoo/{card.name}" for card in (ROOT / "tfqkd/models/weights").glob("*.md")]
    expected = [
        page.relative_to(ROOT / "docs").as_posix() for page in PAGES if "docs" in page.parts
    ]
    assert sorted(found) == sorted([*expected, *cards, "contributing.md", "changelog.md"])


def _pages(entries):
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from _pages(below)
