"""A page in headless Chromium, cut off from the network."""

import dataclasses
import pathlib
import shutil
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Only what shows data is clipped to its axes: no frame, tick or text is; lines of the grid are not inked.
_FIGURES = """
const inked = element => !(element.getAttribute('style') || '').includes('--grid');
const marks = element => {
    if (element.tagName === 'g') return element.querySelectorAll('use, path').length;
    const line = getComputedStyle(element).fill === 'none';
    return line ? element.getAttribute('d').match(/[ML]/g).length : 1;
};
[...document.querySelectorAll('figure svg')].map(svg => {
    const box = svg.getBoundingClientRect();
    const text = svg.querySelector('text');
    return {
        width: box.width,
        height: box.height,
        right: box.right,
        name: svg.closest('figure').previousElementSibling.id,
        marks: [...svg.querySelectorAll('[clip-path]')].filter(inked).map(marks)
            .reduce((sum, count) => sum + count, 0),
        ink: text ? getComputedStyle(text).fill : null,
    };
})
"""


@dataclasses.dataclass(frozen=True)
class Shown:
    """What Chromium made of a page.

    Attributes:
        title: Of the document.
        problems: Console messages, script errors and requests that failed.
        requests: Every address that was asked for.
        figures: Of each figure its name, its size, the number of marks that show data (a point, a bar, the
            corner of a line) and the colour of its text.
        colours: Of the body: text and background.
        width: Of the whole document, in pixels.
        text: All that can be read.
    """

    title: str
    problems: list[str]
    requests: list[str]
    figures: list[dict[str, Any]]
    colours: tuple[str, str]
    width: int
    text: str


def program() -> str:
    """Returns Chromium's path; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"needs Chromium: none of {', '.join(_NAMES)} is installed")
    return found


def show(page: pathlib.Path, scheme: str, width: int = 1000) -> Shown:
    """Opens a page; skips the test where there is no Chromium."""
    sync = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install '.[dev]'"
    )
    problems: list[str] = []
    requests: list[str] = []
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 800}, offline=True
        )
        tab = context.new_page()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("requestfailed", lambda request: problems.append(request.url))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.resolve().as_uri())
        style = "const s = getComputedStyle(document.body); [s.color, s.backgroundColor]"
        shown = Shown(
            tab.title(),
            problems,
            requests,
            tab.evaluate(_FIGURES),
            tuple(tab.evaluate(f"(() => {{ {style.replace('; [', '; return [')} }})()")),
            tab.evaluate("document.documentElement.scrollWidth"),
            tab.inner_text("body"),
        )
        browser.close()
    return shown
