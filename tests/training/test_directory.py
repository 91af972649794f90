import json
import pathlib
import socket
import subprocess
import sys

import pytest

from tfqkd.recipe.recipe import Recipe
from tfqkd.training.directory import RunDirectory, read_recipe
from tfqkd.training.presets import PAPER, Comparison

RECIPE = Recipe(dataset="digits", student="cnn2", teacher="none")


def test_looking_at_a_directory_makes_nothing(tmp_path):
    assert RunDirectory(tmp_path / "run", RECIPE).results() is None
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_begun_holds_recipe_and_commands(tmp_path):
    directory = RunDirectory(tmp_path / "deep" / "run", RECIPE)
    directory.begin(["bin/train", "--run_dir=my run"])
    directory.begin()
    RunDirectory(tmp_path / "deep" / "run", RECIPE).begin(["bin/train", "--run.jit_compile"])
    assert read_recipe(tmp_path / "deep" / "run") == RECIPE
    assert (tmp_path / "deep" / "run" / "command.txt").read_text() == (
        f"bin/train '--run_dir=my run'  # in {pathlib.Path.cwd()}\n"
        f"bin/train --run.jit_compile  # in {pathlib.Path.cwd()}\n"
    )


def test_a_kept_command_runs_again_as_it_stands(tmp_path, monkeypatch):
    here = tmp_path / "my files"
    here.mkdir()
    monkeypatch.chdir(here)
    RunDirectory(tmp_path / "run", RECIPE).begin(["printf", "%s|", "a b", "it's"])
    text = (tmp_path / "run" / "command.txt").read_text()
    said = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True).stdout
    assert said == "a b|it's|"
    assert text.endswith(f"  # in '{here}'\n")


def test_a_run_goes_on_with_as_many_replicas_as_it_began_with(tmp_path):
    one, two = (RunDirectory(tmp_path / name, RECIPE) for name in ("one", "two"))
    for directory, count in ((one, 1), (two, 2)):
        for begun in (1, 2, 3):
            directory.require_replicas(begun)
        directory.begin(replicas=count)
        directory.require_replicas(count)
    with pytest.raises(
        ValueError, match=r"as many devices.*Received: 1 there, 2 now, for .*/one\."
    ):
        one.require_replicas(2)
    with pytest.raises(ValueError, match=r"Received: 2 there, 1 now, for .*/two\..*synchronized"):
        two.require_replicas(1)
    # Begun before their number was kept.
    (one.path / "replicas.txt").unlink()
    one.require_replicas(1)


def test_a_directory_belongs_to_the_preset_too(tmp_path):
    compared = Comparison(controls=True, repeats=2)
    RunDirectory(tmp_path / "run", RECIPE).begin()
    RunDirectory(tmp_path / "compared", RECIPE, compared).begin()
    RunDirectory(tmp_path / "compared", RECIPE, Comparison(controls=True, repeats=2)).begin()
    for path, preset, difference in (
        ("run", compared, "preset: 'Paper' there, 'Comparison' given"),
        ("compared", PAPER, "preset: 'Comparison' there, 'Paper' given"),
        ("compared", Comparison(repeats=2), "controls: True there, False given"),
        ("compared", Comparison(controls=True), "repeats: 2 there, 1 given"),
    ):
        with pytest.raises(ValueError) as error:
            RunDirectory(tmp_path / path, RECIPE, preset)
        assert str(error.value).splitlines()[1:-1] == [f"  {difference}"]


def test_the_recipe_that_is_there_stays(tmp_path):
    RunDirectory(tmp_path, RECIPE).begin()
    RunDirectory(tmp_path, RECIPE.changed(data_dir="/elsewhere")).begin()
    assert read_recipe(tmp_path) == RECIPE


def test_another_recipe_is_refused_with_every_difference(tmp_path):
    RunDirectory(tmp_path, RECIPE).begin()
    other = RECIPE.changed({"training.milestones": (0.3,), "run.strategy": "mirrored"}, bits=4)
    with pytest.raises(ValueError) as error:
        RunDirectory(tmp_path, other)
    assert str(error.value).splitlines()[1:-1] == [
        "  training.milestones: (0.5, 0.75) there, (0.3,) given",
        "  bits: 2 there, 4 given",
    ]


def test_what_a_version_before_has_begun_is_refused_and_what_it_has_finished_is_read(tmp_path):
    old = {"dataset": "digits", "teacher": "none", "quantized_epochs": 3, "formats": []}
    (tmp_path / "recipe.json").write_text(json.dumps(old))
    recipe = Recipe({"quantized.training.epochs": 3}, dataset="digits", teacher="none", formats=())
    with pytest.raises(ValueError, match=r"`quantized_epochs` is now `quantized.training.epochs`"):
        RunDirectory(tmp_path, recipe)
    (tmp_path / "results.json").write_text("{}")
    assert read_recipe(tmp_path) == RunDirectory(tmp_path, recipe).recipe == recipe
    with pytest.raises(ValueError, match=r"quantized.training.epochs: 3 there, 4 given"):
        RunDirectory(tmp_path, recipe.changed({"quantized.training.epochs": 4}))


def test_a_run_that_is_not_done_goes_on_to_other_formats(tmp_path):
    RunDirectory(tmp_path, RECIPE).begin()
    other = RECIPE.changed(formats=("saved_model",))
    RunDirectory(tmp_path, other).begin()
    assert read_recipe(tmp_path) == other
    (tmp_path / "results.json").touch()
    with pytest.raises(ValueError, match=r"formats: \('saved_model',\) there"):
        RunDirectory(tmp_path, RECIPE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"must hold recipe\.json\. Received: .*Give the --run_dir"),
        ('{"temprature": 2}', "one of a recipe's. Received: 'temprature'"),
        ('{"bits": 1}', "`bits` must be"),
    ],
)
def test_a_directory_without_a_good_recipe_is_refused(tmp_path, text, message):
    if text:
        (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(tmp_path)


HOLD = """
import pathlib, sys
from tfqkd.training.directory import RunDirectory
from tfqkd.recipe.recipe import Recipe

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
            f"Only one process may work on a run directory. Received: {directory.path}, which process "
            f"{owner.pid} on {socket.gethostname()} is using. Wait for it, stop it, or give another "
            "--run_dir."
        )
        # Killed, so that it can give nothing back by itself.
        owner.kill()
        owner.wait()
        with directory.locked():
            pass
    with directory.locked():
        pass
