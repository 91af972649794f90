"""The messages of docs/troubleshooting.md are those of the code."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?!you |---)(.+?) \| .+ \|$", re.MULTILINE)
SECTIONS = [part for part in PAGE.split("\n## ") if "| you read |" in part]
MESSAGES = [message for part in SECTIONS for message in ROW.findall(part)]


@pytest.fixture(scope="module")
def texts():
    """All that the program may say."""
    found = [(ROOT / "bin" / "train").read_text(encoding="utf-8")]
    for path in (ROOT / "tfqkd").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found += [
            node.value
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    return "\n".join(found)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_page_is_one_of_the_code(message, texts):
    assert message in texts


def test_the_page_has_messages():
    assert len(MESSAGES) > 40
