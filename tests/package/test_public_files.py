"""The workflows and issue templates are what GitHub takes; the workflows run make alone."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
SCHEMAS = {
    "workflows/tests.yml": "vendor.github-workflows",
    "workflows/docs.yml": "vendor.github-workflows",
    "ISSUE_TEMPLATE/bug.yml": "vendor.github-issue-forms",
    "ISSUE_TEMPLATE/idea.yml": "vendor.github-issue-forms",
    "ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    "../CITATION.cff": "vendor.citation-file-format",
}


def test_every_file_has_a_schema():
    found = {path.relative_to(GITHUB).as_posix() for path in GITHUB.rglob("*.yml")}
    assert found == {name for name in SCHEMAS if not name.startswith("..")}


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_a_file_is_what_its_schema_says(name, schema):
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("needs check-jsonschema: pip install '.[dev]'")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, GITHUB / name]
    child = subprocess.run(check, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name.startswith("workflows")])
def test_a_workflow_runs_make_alone_with_targets_that_are_there(name):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load((GITHUB / name).read_text())["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert commands
    for words in map(str.split, commands):
        assert words[0] == "make"
        assert {word for word in words[1:] if "=" not in word} <= targets


def test_the_workflow_tries_every_python_that_the_package_takes():
    said = re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.py").read_text())
    workflow = yaml.safe_load((GITHUB / "workflows/tests.yml").read_text())
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == said
