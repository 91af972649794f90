import csv
import re
import shlex

import pytest
from study.tried import begin, grid, plan, results

from tfqkd.reporting.study_page import findings, print_study, write_study_page
from tfqkd.study.results import StudyResults

from .chromium import show

FIGURES = (
    "temperature",
    "heat_map",
    "teacher_size",
    "robustness",
    "entropy",
    "importance",
    "interactions",
    "curves",
    "layers",
)


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    return grid(tmp_path_factory)


@pytest.fixture(scope="module")
def page(tried, tmp_path_factory):
    return write_study_page(tried, tmp_path_factory.mktemp("page"))


def rows(page, name):
    with (page.parent / "figures" / f"{name}.csv").open() as file:
        return len(list(csv.DictReader(file)))


def test_every_figure_is_in_the_page_and_beside_it(page):
    html = page.read_text()
    for name in FIGURES:
        assert f'id="{name}"' in html
        for suffix in ("png", "csv"):
            assert (page.parent / "figures" / f"{name}.{suffix}").stat().st_size > 20
            assert f'href="figures/{name}.{suffix}"' in html
    assert html.count("<svg") == len(FIGURES)
    assert "Not drawn" not in html


def test_the_page_is_one_file_without_scripts_or_addresses(page):
    html = page.read_text()
    assert "<script" not in html
    assert re.findall(r'(?:src|href)="(?!#|figures/|data:)[^"]*"', html) == []
    # Names of XML dialects are no addresses to load.
    rest = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert "http" not in rest


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chromium_draws_every_figure_offline_and_without_a_complaint(page, scheme):
    shown = show(page, scheme)
    assert shown.problems == []
    assert shown.requests == [page.resolve().as_uri()]
    assert [figure["name"] for figure in shown.figures] == list(FIGURES)
    for figure in shown.figures:
        assert figure["width"] > 900
        assert figure["height"] > 150
        assert figure["marks"] >= rows(page, figure["name"])
        # The text of the figures has the colour of the page's text.
        assert figure["ink"] == shown.colours[0]
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in shown.colours)
    brighter = paper - ink if scheme == "light" else ink - paper
    assert brighter > 400
    assert "28 of 28 trials done" in shown.text


def test_a_narrow_window_needs_no_scrolling_aside(page):
    shown = show(page, "light", width=400)
    assert shown.width == 400
    assert all(figure["right"] <= 400 for figure in shown.figures)


def test_the_best_recipe_is_a_flag_file_that_train_takes(tried, page):
    from tfqkd.cli.recipes import recipe_from_flags
    from tfqkd.cli.train import _command

    seen = []
    command = _command()
    argv = ["train", f"--flagfile={page.parent / 'best.flags'}"]
    assert command.main(argv, lambda: seen.append(recipe_from_flags(command))) == 0
    assert seen == [tried.best_recipe()]
    assert seen[0].distil.temperature == 2.0


def test_what_it_says_has_the_figures_of_the_formula(tried):
    said = "\n".join(findings(tried))
    assert (
        "schedule gradual: the smallest teacher (cnn4) at its best temperature (2) gives 85.00 ± 0.71 %, "
        "the largest (cnn16) at its best (2) 86.00 ± 0.71 % and at its worst (8) 84.00 ± 0.71 %."
    ) in said
    assert "constant 1.78 (from 81.00 to 86.00 %), gradual 1.00 (from 83.00 to 86.00 %). " in said
    assert "Brown and Forsythe's test of equal spreads: p = " in said
    assert "+4.00 points on average, best +6.00, worst +1.00; 24 of 24 trials" in said


def test_what_is_printed_has_the_best_trial_its_control_and_where_the_page_is(tried, capsys):
    import pathlib

    print_study(tried, pathlib.Path("runs/x"))
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if re.match(rf" ?{tried.best()} ", line))
    assert shlex.split(row)[1] == "2"
    assert "86.00 ± 0.71" in row
    assert "control" in out
    assert "Report          runs/x/report.html" in out


def test_a_study_without_a_finished_trial_has_a_page_that_says_so(tmp_path):
    empty = StudyResults.read(begin(tmp_path, plan()), plan())
    html = write_study_page(empty, tmp_path / "page").read_text()
    assert "0 of 28 trials done" in html
    assert not (tmp_path / "page" / "best.flags").exists()


def test_names_with_markup_stay_text(tmp_path):
    few = results(tmp_path, plan("temperature=1,2"))
    import dataclasses

    named = dataclasses.replace(few, name="<img src=x>")
    html = write_study_page(named, tmp_path / "page").read_text()
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html
    # Only temperature varies: the other figures say what is missing.
    assert "Not drawn: The coefficient does not vary." in html


@pytest.mark.slow
def test_workers_that_end_together_leave_one_whole_page(tried, tmp_path):
    import concurrent.futures

    # Each call opens the lock anew: to flock, threads are as different as processes.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(write_study_page, [tried] * 2, [tmp_path] * 2))
    assert pages == [tmp_path / "report.html"] * 2
    assert pages[0].read_text().rstrip().endswith("</html>")
    assert not list(tmp_path.glob("*.partial"))
