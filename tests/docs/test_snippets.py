"""Every Python snippet of the README and of docs/ runs as it stands, in the order of its page."""

import dataclasses
import os
import pathlib
import re
import runpy
import subprocess
import sys

import pytest
from export.in_process import files_run_here

from tfqkd.data import digits

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [
    page
    for page in (README, *sorted((ROOT / "docs").rglob("*.md")))
    if "```python" in page.read_text(encoding="utf-8")
]
# Their snippets train, and so take longest.
LONG = {"study", "recipe", "model", "methods", "quantizers", "transfer"}


def snippets(page: pathlib.Path) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def few_digits(monkeypatch):
    """Leaves every other digit to train on: snippets show how, and half of the steps are enough."""
    read = digits.read

    def half(*arguments):
        data = read(*arguments)
        return dataclasses.replace(data, train=data.train.thinned(len(data.train) // 2))

    monkeypatch.setattr(digits, "read", half)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=page.relative_to(ROOT).as_posix(),
            marks=pytest.mark.slow if page.stem in LONG else (),
        )
        for page in PAGES
    ],
)
def test_snippets_of_a_page_run_as_they_stand(page, tmp_path, monkeypatch):
    # Those that distil have tests of their own: below, and of Keras 3 on every backend.
    found = [
        text
        for text in snippets(page)
        if page.stem not in ("README", "keras3") or "distiller.fit" not in text
    ]
    # In this process, since TensorFlow loads slowly; each snippet starts with a clean namespace.
    monkeypatch.chdir(tmp_path)
    for number, snippet in enumerate(found):
        script = tmp_path / f"snippet_{number}.py"
        script.write_text(snippet, encoding="utf-8")
        with files_run_here():
            runpy.run_path(str(script), run_name="__main__")


@pytest.mark.usefixtures("few_digits")
def test_the_model_fit_example_of_the_readme_trains_and_exports(tmp_path, monkeypatch, capsys):
    (example,) = [text for text in snippets(README) if "distiller.fit" in text]
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    accuracies = [float(value) for value in re.findall(r"val_accuracy: ([0-9.]+)", said)]
    assert len(accuracies) == 10
    assert accuracies[-1] > 0.75
    assert (tmp_path / "student.tflite").stat().st_size > 1000


@pytest.mark.slow
def test_two_lines_of_the_example_make_it_one_of_keras_3(tmp_path):
    pytest.importorskip("jax", reason="needs jax: pip install '.[dev]'")
    (example,) = [text for text in snippets(README) if "distiller.fit" in text]
    other = example.replace("from tfqkd.compat import keras ", "import keras ")
    other = other.replace('"cnn8", (8, 8, 1), 10)', '"cnn8", (8, 8, 1), 10, keras=keras)')
    changed = [a != b for a, b in zip(example.splitlines(), other.splitlines(), strict=True)]
    assert sum(changed) == 2
    (tmp_path / "example.py").write_text(other, encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    accuracies = [float(value) for value in re.findall(r"val_accuracy: ([0-9.]+)", child.stdout)]
    assert len(accuracies) == 10
    assert accuracies[-1] > 0.75
    assert (tmp_path / "student.tflite").stat().st_size > 1000
