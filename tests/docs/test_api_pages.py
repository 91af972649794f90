"""Every public name has a place on the pages of the API."""

import pathlib
import re

import pytest

import tfqkd
from tfqkd import data, export, models, runtime
from tfqkd.fronts import keras3, tfmot

FOLDER = pathlib.Path(tfqkd.__file__).parents[1] / "docs" / "reference" / "api"
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in sorted(FOLDER.glob("*.md")))
SHOWN = set(re.findall(r"heading: (\S+)", TEXT))
# Rooms, whose names have a list of their own; what they are for says a page.
ROOMS = {
    "__version__",
    "compat",
    "data",
    "export",
    "keras3",
    "models",
    "reporting",
    "runtime",
    "tfmot",
    "training",
}


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("tfqkd", set(tfqkd.__all__) - ROOMS),
        ("tfqkd.data", set(data.__all__)),
        ("tfqkd.export", set(export.__all__)),
        ("tfqkd.models", set(models.__all__)),
        ("tfqkd.runtime", set(runtime.__all__) - {"load"}),
    ],
)
def test_a_public_name_has_a_heading(prefix, names):
    assert {f"{prefix}.{name}" for name in names} <= SHOWN


@pytest.mark.parametrize("front", [tfmot, keras3], ids=["tfmot", "keras3"])
def test_a_name_of_a_front_is_on_its_page_or_chosen_by_the_model(front):
    short = front.__name__.rsplit(".", 1)[1]
    missing = {name for name in front.__all__ if f"tfqkd.{short}.{name}" not in SHOWN}
    assert missing <= set(tfqkd.__all__)
