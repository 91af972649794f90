"""The site is built without a warning and without network, and works in Chromium."""

import functools
import http.server
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import threading

import pytest
from reporting.chromium import program

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("mkdocs") is None, reason="needs mkdocs: pip install '.[dev]'"
    ),
]
SHOWN = [
    "index.html",
    "concepts/index.html",
    "architecture.html",
    "reference/api/distillation.html",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    # The theme's word on a mkdocs 2 to come is no warning about the pages.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder


@pytest.fixture(scope="module")
def address(site):
    """The site on this machine: its search does not work from the disk."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def test_no_page_fetches_anything_from_elsewhere(site):
    fetched = re.compile(r'<(?:script|img|link)\b[^>]*(?:src|href)="(?:https?:)?//', re.IGNORECASE)
    for page in site.rglob("*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), page


def test_formulas_are_drawn_by_the_browser(site):
    page = (site / "concepts" / "distillation.html").read_text(encoding="utf-8")
    assert page.count("<math") > 10
    assert "arithmatex" not in page


@pytest.fixture
def tab(address):
    """A tab of Chromium that fails the test if a page complains."""
    sync = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install '.[dev]'"
    )
    problems = []
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("requestfailed", lambda request: problems.append(request.url))
        tab.on("request", lambda request: address in request.url or problems.append(request.url))
        yield tab
        browser.close()
    assert not problems


@pytest.mark.parametrize("page", SHOWN)
def test_a_page_is_shown_without_a_complaint(page, tab, address):
    tab.goto(f"{address}/{page}")
    assert tab.inner_text("h1")
    pictures = (
        "[...document.querySelectorAll('article img')].every(image => image.naturalWidth > 0)"
    )
    assert tab.evaluate(pictures)


def test_the_search_finds_the_distiller(tab, address):
    tab.goto(f"{address}/index.html")
    tab.click("input.md-search__input")
    tab.keyboard.type("Distiller")
    found = tab.wait_for_selector(".md-search-result__item a")
    assert "istill" in found.inner_text()
