import dataclasses
import pathlib
import subprocess
import sys

import pytest

from tfqkd.cli import export
from tfqkd.export.format_table import format_table
from tfqkd.export.formats import FORMATS, parse_formats


def test_names_are_parsed_in_order_each_once():
    parsed = parse_formats(" litert-int8,saved_model, litert-int8 ")
    assert [form.name for form in parsed] == ["litert-int8", "saved_model"]
    assert parsed[0] is FORMATS["litert-int8"]


@pytest.mark.parametrize("text", ["", " , ", "onnx", "saved_model,litert-int4"])
def test_unknown_or_no_formats_are_refused_with_the_known_ones(text):
    with pytest.raises(ValueError, match="saved_model, keras, litert-float32") as caught:
        parse_formats(text)
    assert f"Received: {text!r}" in str(caught.value)


def test_file_names_differ():
    assert len({form.file_name for form in FORMATS.values()}) == len(FORMATS)


def test_missing_runtime_names_the_extra():
    form = dataclasses.replace(FORMATS["litert-int8"], runtime="no_such_runtime")
    with pytest.raises(ImportError, match=r"no_such_runtime.*pip install 'tfqkd\[export\]'"):
        form.require_runtime()


def test_formats_are_known_without_tensorflow():
    code = (
        "import sys; from tfqkd.export import FORMATS, parse_formats; parse_formats('saved_model');"
        "assert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules, 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_has_the_table_that_the_command_prints(capsys):
    page = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "export.md"
    assert format_table(markdown=True) in page.read_text(encoding="utf-8")
    assert export.main(["export", "--format=list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in FORMATS)
