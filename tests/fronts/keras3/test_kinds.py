"""The table of docs/keras3.md: which kinds of layers train, strip exactly and come back, on each backend."""

import json

import pytest

from tests.fronts.keras3.backends import BACKENDS, ROOT, run

COLUMNS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def table():
    """The cells of the table by kind, and by heading."""
    page = (ROOT / "docs" / "keras3.md").read_text()
    head, _, *lines = page[page.index("| layers |") :].splitlines()
    headings = [cell.strip() for cell in head.strip("|").split("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        kind: dict(zip(headings, row, strict=True))
        for row in rows[: lines.index("")]
        for kind in row[0].split("; ")
    }


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_kind_of_layer_does_what_the_table_says(backend):
    said = run(backend, "-m", "tests.fronts.keras3.children.kinds")
    found = json.loads(said.rpartition("ROWS ")[2].splitlines()[0])
    rows = table()
    assert set(rows) == set(found)
    for kind, (kernels, *cells) in found.items():
        assert rows[kind]["kernels"] == kernels, kind
        assert rows[kind][COLUMNS[backend]] == " · ".join(cells), kind
