"""Every command that docs/howto/study.md shows is taken, also in the files of clusters."""

import pathlib
import re
import shlex
import subprocess

import pytest
import yaml

from tfqkd.cli.study import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto" / "study.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def job():
    (text,) = blocks("yaml")
    return yaml.safe_load(text)


def commands():
    texts = [*blocks("sh"), *re.findall(r"`(bin/study [^`]*)`", PAGE)]
    lines = [line for text in texts for line in text.replace("\\\n", "").splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("bin/study ")]
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    return [words for words in [*found, container["command"]] if "..." not in words]


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_a_command_of_the_page_is_taken(words, capsys, monkeypatch):
    """All that is left to refuse is a number of trials for a grid, which is added here."""
    monkeypatch.chdir(ROOT)
    # The directory that the page tells to copy.
    words = [word.replace("/shared/configs", "configs") for word in words]
    assert main(["study", *words[1:], "--trials=3"]) == 2
    assert "A grid tries every setting once." in capsys.readouterr().err


def test_the_page_shows_commands_for_one_machine_several_and_both_clusters():
    assert len(commands()) >= 5
    assert {words[0] for words in commands()} == {"bin/study", "tfqkd-study"}


def test_the_job_of_kubernetes_restarts_workers_and_mounts_what_it_names():
    spec = job()["spec"]["template"]["spec"]
    assert (job()["apiVersion"], job()["kind"]) == ("batch/v1", "Job")
    assert spec["restartPolicy"] == "OnFailure"
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in spec["volumes"]}
    paths = [word for word in container["command"] if word.startswith("--") and "=/" in word]
    assert len(paths) == 3
    assert all(word.partition("=")[2].startswith(mounts["shared"] + "/") for word in paths)


def test_the_job_of_slurm_is_a_shell_script_whose_workers_are_queued_again():
    (script,) = [text for text in blocks("sh") if text.startswith("#!")]
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    options = re.findall(r"^#SBATCH --(\S+)", script, re.MULTILINE)
    assert "requeue" in options
    assert any(re.fullmatch(r"array=\d+-\d+", option) for option in options)
