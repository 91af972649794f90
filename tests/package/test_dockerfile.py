"""The RUN lines of the Dockerfile, in a new environment and a folder with what is copied; slow."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.findall(r"^RUN (.*)$", TEXT, re.MULTILINE)
COPIED = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]


def test_the_cluster_runs_the_image_that_the_dockerfile_makes():
    (image,) = re.findall(r"^# CPU: +docker build -t (\S+) \.$", TEXT, re.MULTILINE)
    page = (ROOT / "docs" / "howto" / "study.md").read_text(encoding="utf-8")
    job = yaml.safe_load(re.search(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"].rpartition("/")[2] == image
    assert f"/{image}\n" in (ROOT / "examples" / "kubernetes.yaml").read_text()


@pytest.mark.slow
def test_the_run_lines_make_an_environment_that_trains(tmp_path):
    source, work = tmp_path / "source", tmp_path / "work"
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", TEXT, re.MULTILINE)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "EXTRAS": extras,
        "PATH": f"{tmp_path}/env/bin:/usr/bin:/bin",
    }
    assert len(LINES) == 2
    for line in LINES:
        subprocess.run(["sh", "-ec", line], cwd=source, env=environment, check=True)
    train = "tfqkd-train --flagfile=configs/quickstart.flags --dry_run"
    subprocess.run(["sh", "-ec", train], cwd=work, env=environment, check=True)
