import dataclasses
import json
import socket
import subprocess
import sys

import pytest

from tfqkd.training.directory import RunDirectory, read_recipe, write_atomically
from tfqkd.training.recipe import Recipe

RECIPE = Recipe(dataset="digits", student="cnn2", teacher="none")


def test_looking_at_a_directory_makes_nothing(tmp_path):
    assert RunDirectory(tmp_path / "run", RECIPE).results() is None
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_begun_holds_recipe_and_commands(tmp_path):
    directory = RunDirectory(tmp_path / "deep" / "run", RECIPE)
    directory.begin(["bin/train", "--run_dir=my run"])
    directory.begin()
    RunDirectory(tmp_path / "deep" / "run", RECIPE).begin(["bin/train", "--jit_compile"])
    assert read_recipe(tmp_path / "deep" / "run") == RECIPE
    assert (tmp_path / "deep" / "run" / "command.txt").read_text() == (
        "bin/train '--run_dir=my run'\nbin/train --jit_compile\n"
    )


def test_the_recipe_that_is_there_stays(tmp_path):
    RunDirectory(tmp_path, RECIPE).begin()
    RunDirectory(tmp_path, dataclasses.replace(RECIPE, data_dir="/elsewhere")).begin()
    assert read_recipe(tmp_path) == RECIPE


def test_another_recipe_is_refused_with_every_difference(tmp_path):
    RunDirectory(tmp_path, RECIPE).begin()
    other = dataclasses.replace(RECIPE, bits=4, milestones=(0.3,), strategy="mirrored")
    with pytest.raises(ValueError) as error:
        RunDirectory(tmp_path, other)
    assert str(error.value).splitlines()[1:-1] == [
        "  bits: 2 there, 4 given",
        "  milestones: (0.5, 0.75) there, (0.3,) given",
    ]


def test_results_are_read_back(tmp_path):
    directory = RunDirectory(tmp_path, RECIPE)
    results = {"models": [{"role": "λ", "accuracy": 1 / 3}], "export": []}
    directory.write_results(results)
    assert directory.results() == results
    assert json.loads((tmp_path / "results.json").read_text()) == results


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"must hold recipe\.json\. Received: .*Give the --run_dir"),
        ('{"temprature": 2}', r"Received: \['temprature'\]"),
        ('{"bits": 1}', "`bits` must be"),
    ],
)
def test_a_directory_without_a_good_recipe_is_refused(tmp_path, text, message):
    if text:
        (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old µ")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old µ"
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


HOLD = """
import pathlib, sys
from tfqkd.training.directory import RunDirectory
from tfqkd.training.recipe import Recipe

with RunDirectory(pathlib.Path(sys.argv[1]), Recipe(dataset="digits")).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_one_is_gone(tmp_path):
    directory = RunDirectory(tmp_path / "deep" / "run", Recipe(dataset="digits"))
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError) as error, directory.locked():
            pass
        assert str(error.value) == (
            f"One process at a time works on a run directory. Received: {directory.path}, on which "
            f"process {owner.pid} on {socket.gethostname()} works. "
            "Wait for it, end it, or give another --run_dir."
        )
        # Killed, so that it can give nothing back by itself.
        owner.kill()
        owner.wait()
        with directory.locked():
            pass
    with directory.locked():
        pass
