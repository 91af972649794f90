"""The wheel and the sdist: what they hold, and that a wheel alone does the job of each extra; slow."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[2]
LARGEST = 16 * 2**20
SMALL = (
    "--flagfile=configs/quickstart.flags",
    "--formats=saved_model,litert-int2",
    "--compare=false",
    "--repeats=1",
    "--training.epochs=1",
    "--teacher.training.epochs=1",
    "--student.training.epochs=1",
    "--quantized.training.epochs=1",
    "--data.train_examples=128",
)


def environment(**more):
    """That of a user: pip would take what lies in PYTHONPATH for installed."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if key not in hidden} | more


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of wheel and sdist, made of a copy: a build leaves files beside its source."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, names.stdout.decode().split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    sdist = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", folder]
    subprocess.run(sdist, cwd=source, check=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True, env=environment())
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (found,) = built.glob("*.whl")
    return found


def test_wheel_and_sdist_are_small_and_hold_types_configs_and_networks(built, wheel):
    (sdist,) = built.glob("*.tar.gz")
    assert max(wheel.stat().st_size, sdist.stat().st_size) <= LARGEST
    names = zipfile.ZipFile(wheel).namelist()
    configs = {f"tfqkd/configs/{file.name}" for file in (ROOT / "configs").glob("*.flags")}
    weights = {
        f"tfqkd/models/weights/{file.name}" for file in (ROOT / "tfqkd/models/weights").iterdir()
    }
    assert {"tfqkd/py.typed"} | configs | weights <= set(names)
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"tfqkd"}
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "configs/cifar100.flags", "tfqkd/py.typed", "constraints.txt"} <= inside


class Installed:
    """An environment with the wheel alone, and an empty folder to work in."""

    def __init__(self, folder, wheel):
        self.bin, self.folder, self.wheel = folder / "env" / "bin", folder / "empty", wheel
        self.folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
        self.add(str(wheel))

    def add(self, *what):
        """Installs as a user does; the versions are those that were tested together."""
        pip = [
            self.bin / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "-c",
            ROOT / "constraints.txt",
        ]
        subprocess.run([*pip, *what], check=True, env=environment())

    def call(self, program, *arguments, status=0, **more):
        """Returns what a command has printed."""
        child = subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder,
            env=environment(**more),
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == status, child.stdout + child.stderr
        return child.stdout + child.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel):
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


def add_what_it_says(installed, message):
    """Installs the extra that one line of an error names."""
    (line,) = [line for line in message.splitlines() if "pip install" in line]
    (extra,) = re.findall(r"pip install '(tfqkd\[\w+\])'", line)
    installed.add(extra)


def test_the_base_trains_exports_and_classifies(installed):
    installed.call("tfqkd-train", *SMALL, "--run_dir=base")
    exported = installed.folder / "base" / "export"
    assert (exported / "saved_model" / "saved_model.pb").exists()
    assert list(installed.folder.iterdir()) == [installed.folder / "base"]
    shutil.copy(ROOT / "tests" / "package" / "seven.png", installed.folder)
    command = ("tfqkd-predict", f"--model={exported / 'student-int2.tflite'}", "--images=seven.png")
    assert "seven.png" in installed.call(*command)


def test_the_base_takes_the_flag_file_of_the_paper(installed):
    """All that is left to refuse is the data, which is not there."""
    said = installed.call(
        "tfqkd-train", "--flagfile=configs/cifar100.flags", "--data_dir=none", status=1
    )
    assert "`data_dir` must be the directory that holds the data sets" in said.splitlines()[-1]


def test_a_format_names_its_extra_and_is_written_with_it(installed):
    command = ("tfqkd-export", "--run_dir=base", "--format=onnx-int2", "--nolatency")
    said = installed.call(*command, status=1)
    assert "tfqkd[onnx]" in said
    add_what_it_says(installed, said)
    installed.call(*command)
    file = installed.folder / "base" / "export" / "student-int2.onnx"
    assert "seven.png" in installed.call("tfqkd-predict", f"--model={file}", "--images=seven.png")


def test_a_study_names_its_extra_and_runs_with_it(installed):
    command = (
        *("tfqkd-study", "--flagfile=configs/study_quickstart.flags", *SMALL[4:-1]),
        *("--run_dir=study", "--sampler=random", "--trials=1", "--repeats=1"),
    )
    add_what_it_says(installed, installed.call(*command, status=1))
    installed.call(*command)
    assert (installed.folder / "study" / "report.html").exists()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_of_keras_3_names_its_extra_and_trains_with_it(installed, backend):
    command = ("tfqkd-train", *SMALL, "--run.keras=3", f"--run_dir={backend}")
    said = installed.call(*command, status=1, KERAS_BACKEND=backend)
    add_what_it_says(installed, said)
    installed.call(*command, KERAS_BACKEND=backend)
    assert (installed.folder / backend / "results.json").exists()
