import json
import subprocess

import pytest

from tfqkd.cli.doctor import main
from tfqkd.reporting import checkup

REQUIRED = {
    "tfqkd": [
        "absl-py~=1.4",
        'jax~=0.10; extra == "jax"',
        'tensorflow[and-cuda]~=2.21; extra == "gpu"',
    ],
    "tensorflow": ["numpy", 'nvidia-cudnn-cu12<10; extra == "and-cuda"'],
}


@pytest.fixture
def machine(monkeypatch):
    """A machine with tfqkd, TensorFlow on two CPUs, and no JAX; returns what may be changed."""
    there = {"tfqkd": "0.1.0", "tensorflow": "2.21.0", "numpy": "2.4.6"}
    said = {"tensorflow": (0, "CPU CPU\n", "")}

    def version(name):
        if name not in there:
            raise checkup.importlib.metadata.PackageNotFoundError(name)
        return there[name]

    def run(words, **_):
        (name,) = [name for name, program in checkup._DEVICES.items() if program == words[-1]]
        status, out, err = said[name]
        return subprocess.CompletedProcess(words, status, out, err)

    metadata = checkup.importlib.metadata
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", REQUIRED.get)
    monkeypatch.setattr(metadata, "metadata", lambda name: Extras())
    monkeypatch.setattr(checkup.subprocess, "run", run)
    monkeypatch.setattr(checkup.shutil, "which", lambda name: None)
    monkeypatch.setattr(checkup, "cpu_flags", lambda: {"avx2", "avx512f"})
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return monkeypatch, there, said


class Extras:
    def get_all(self, name):
        assert name == "Provides-Extra"
        return ["jax", "gpu"]


def test_versions_extras_and_devices_are_one_object(machine, capsys):
    assert main(["doctor", "--output=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["tensorflow"] == "2.21.0"
    assert found["versions"]["jax"] is None
    assert found["missing"] == {"jax": ["jax"], "gpu": ["nvidia-cudnn-cu12"]}
    assert found["devices"] == {"tensorflow": "2 CPU"}
    assert found["advice"] == []


def test_the_page_names_what_to_install_and_what_to_type_next(machine, capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "lacks jax: pip install 'tfqkd[jax]'" in said
    assert "Nothing is known to be slow here." in said
    assert said.splitlines()[-1] == (
        "Next            tfqkd-train --flagfile=configs/quickstart.flags"
    )


def test_of_many_missing_packages_the_page_tells_their_number(machine, capsys):
    monkeypatch, _, _ = machine
    many = [f'part{index}; extra == "gpu"' for index in range(7)]
    monkeypatch.setattr(checkup.importlib.metadata, "requires", {"tfqkd": many}.get)
    assert main(["doctor"]) == 0
    assert "lacks 7 packages: pip install 'tfqkd[gpu]'" in capsys.readouterr().out


def test_quiet_prints_nothing(machine, capsys):
    assert main(["doctor", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_framework_that_does_not_load_says_why(machine, capsys):
    _, _, said = machine
    said["tensorflow"] = (1, "", "Traceback\nImportError: libfoo.so\n")
    assert main(["doctor"]) == 0
    assert "does not load: ImportError: libfoo.so" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "flags", "has_driver", "advice"),
    [
        ({}, {"avx2"}, False, "leaves oneDNN off on this processor"),
        ({"TF_ENABLE_ONEDNN_OPTS": "1"}, {"avx2"}, False, ""),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, {"avx512f"}, False, "keeps oneDNN off"),
        ({}, {"avx512f", "amx_bf16"}, False, "--run.mixed_precision=auto"),
        ({}, {"avx512f"}, True, "pip install 'tfqkd[gpu]'"),
        ({"KERAS_BACKEND": "jax"}, {"avx512f"}, False, "pip install 'tfqkd[jax]'"),
        ({}, set(), False, ""),
    ],
)
def test_what_is_slow_here_is_a_line_each(machine, environment, flags, has_driver, advice):
    monkeypatch, _, _ = machine
    monkeypatch.setattr(checkup, "cpu_flags", lambda: flags)
    monkeypatch.setattr(checkup.shutil, "which", lambda name: name if has_driver else None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = checkup.check_up().advice
    assert len(found) == bool(advice)
    assert all(advice in line and "\n" not in line for line in found)
