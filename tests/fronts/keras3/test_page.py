"""The example of docs/keras3.md runs on every backend."""

import re

import pytest

from tests.fronts.keras3.backends import BACKENDS, ROOT, run


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_example_of_the_page_trains_and_exports(backend, tmp_path):
    page = (ROOT / "docs" / "keras3.md").read_text()
    (example,) = [
        text
        for text in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        if "distiller.fit" in text
    ]
    script = tmp_path / "example.py"
    script.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{example}")
    said = run(backend, str(script))
    assert float(said.split("accuracy ")[-1]) > 0.6
    assert (tmp_path / "student.tflite").stat().st_size < 12_000
    assert {path.name for path in tmp_path.iterdir()} >= {"training.keras", "student.keras"}
