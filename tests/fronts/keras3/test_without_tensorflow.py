"""Where JAX is and TensorFlow is not, everything works but the export, which is made elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.fronts.keras3.backends import ROOT
from tfqkd.runtime import load

pytestmark = pytest.mark.slow


def installed(page):
    """The packages that the page lists for such an environment: for `fit`, and for the commands."""
    lines = re.findall(r"^pip install ((?:keras|rich) .*)$", page, re.MULTILINE)
    assert len(lines) == 2
    return [line.split("#")[0].split() for line in lines]


@pytest.fixture(scope="module", params=[sys.executable, "python3.12"], ids=["own", "3.12"])
def python(request, tmp_path_factory):
    """Python of an environment that is made as docs/keras3.md says: of this version, and of 3.12."""
    program = shutil.which(request.param)
    if (
        not program
        or subprocess.run([program, "--version"], check=False, capture_output=True).returncode
    ):
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("without")
    source = folder / "source"
    for folder_name in ("tfqkd", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder_name, source / folder_name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    subprocess.run([program, "-m", "venv", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet"]
    packages = [
        name for line in installed((ROOT / "docs" / "keras3.md").read_text()) for name in line
    ]
    subprocess.run([*install, "-c", ROOT / "constraints.txt", *packages], check=True)
    subprocess.run([*install, "--no-deps", source], check=True)
    return python


def run(python, *arguments, folder, status=0):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"KERAS_BACKEND": "jax"}
    child = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == status, child.stdout + child.stderr
    return child.stderr


def test_a_student_is_trained_there_and_exported_elsewhere(python, tmp_path):
    script = ROOT / "tests" / "fronts" / "keras3" / "children" / "without_tensorflow.py"
    run(python, script, tmp_path, folder=tmp_path)
    facts = json.loads((tmp_path / "facts.json").read_text())
    said = facts.pop("said")
    assert facts == {"backend": "jax", "tensorflow": False, "codes": 3}
    assert "pip install tensorflow tf-keras" in said and len(said.splitlines()) == 1
    assert "bin/export --model=FILE.keras" in said
    # The command says the same.
    asked = ["-m", "tfqkd.cli.export", "--model=student.keras"]
    assert run(python, *asked, folder=tmp_path, status=1).strip() == f"export: error: {said}"
    # Here TensorFlow is: the command exports the file.
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tfqkd.cli.export",
            f"--model={tmp_path}/student.keras",
            "--nolatency",
        ],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    stored = np.load(tmp_path / "logits.npz")
    found = load(tmp_path / "export" / "student-int2.tflite")(stored["images"])
    np.testing.assert_allclose(found, stored["logits"], rtol=1e-4, atol=1e-4)


RECIPE = (
    "--run.keras=3",
    "--dataset=digits",
    "--data.train_examples=320",
    "--data.crop_padding=1",
    "--data.flip=false",
    "--student=cnn2",
    "--teacher=cnn4",
    "--training.epochs=1",
    "--quantized.training.epochs=1",
    "--formats=",
    "--run_dir=run",
)


def test_the_commands_train_go_on_and_evaluate_there(python, tmp_path):
    run(python, "-m", "tfqkd.cli.train", *RECIPE, folder=tmp_path)
    assert {"results.json", "report.html", "quantization.txt"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    run(python, "-m", "tfqkd.cli.evaluate", "--run_dir=run", folder=tmp_path)
    trained = json.loads((tmp_path / "run" / "results.json").read_text())["models"]
    measured = json.loads((tmp_path / "run" / "evaluation.json").read_text())["models"]
    assert [m["accuracy"] for m in measured] == [m["accuracy"] for m in trained]
    (product,) = (tmp_path / "run" / "products").glob("quantized-*[0-9a-f]")
    assert list(product.glob("tensorboard/train/events*"))
    said = run(
        python,
        "-m",
        "tfqkd.cli.export",
        "--run_dir=run",
        "--format=litert-int2",
        folder=tmp_path,
        status=1,
    )
    assert said.startswith("export: error: TensorFlow and tf_keras must be installed")
