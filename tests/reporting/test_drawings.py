import re
import xml.etree.ElementTree

import pandas as pd
from matplotlib import image as png

from tfqkd.reporting.drawings import Drawing, new_figure
from tfqkd.reporting.style import label


def draw(name="one"):
    figure = new_figure(6, 3)
    axes = figure.subplots()
    axes.plot([1, 2], [3, 4], "o-", color="#0072b2")
    label(axes, "Title", "x (s)", "y (%)")
    return Drawing(name, 'A "title"', "A caption.", figure, pd.DataFrame({"x": [1], "y": [3.5]}))


def test_an_svg_takes_its_ink_from_the_page():
    svg = draw().svg()
    assert "currentColor" in svg
    assert "var(--grid)" in svg
    assert "#0072b2" in svg
    assert "#000000" not in svg
    assert "#333333" not in svg
    root = xml.etree.ElementTree.fromstring(svg)
    assert "width" not in root.attrib
    assert [float(v) for v in root.attrib["viewBox"].split()] == [0, 0, 6 * 72, 3 * 72]
    texts = {
        "".join(element.itertext()).strip() for element in root.iter() if "text" in element.tag
    }
    assert {"Title", "x (s)", "y (%)"} <= texts


def test_an_svg_names_what_it_shows_and_loads_nothing():
    svg = draw().svg()
    assert svg.startswith('<svg role="img" aria-label="A &quot;title&quot;"')
    links = re.findall(r'(?:href|src)="([^"]*)"', svg)
    assert all(link.startswith("#one-") for link in links)


def test_figures_of_a_page_share_no_ids():
    one, two = (set(re.findall(r'\bid="([^"]+)"', draw(name).svg())) for name in ("one", "two"))
    assert one
    assert not one & two


def test_references_inside_an_svg_lead_somewhere():
    svg = draw().svg()
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    links = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert links
    assert links <= ids


def test_an_svg_is_the_same_every_time():
    assert draw().svg() == draw().svg()


def test_png_and_csv_lie_beside_the_page(tmp_path):
    draw().save(tmp_path / "figures")
    assert png.imread(tmp_path / "figures" / "one.png").shape[:2] == (360, 720)
    assert (tmp_path / "figures" / "one.csv").read_text() == "x,y\n1,3.5\n"
