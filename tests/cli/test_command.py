import errno
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tfqkd.cli.command import Command, UsageError
from tfqkd.models.dimensions import scale_filters
from tfqkd.recipe.recipe import Recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tfqkd"


@pytest.fixture
def command():
    made = Command("brew", "Makes tea. " * 20, ("bin/brew --sort=green", "bin/brew --hot"))
    tea, table = made.group("tea"), made.group("table")
    tea.text("sort", "What tea.", default="green")
    tea.switch("hot", "Whether it is hot.", default=True)
    table.count("cups", 0, "How many.")
    table.texts("with", "What comes with it.")
    table.choice("size", ["small", "large"], "How big.")
    return made


def run_with(command, *arguments):
    """Runs the command; returns its exit status and the values that it read."""
    seen = {}
    status = command.main(
        ["brew", *arguments], lambda: seen.update(command.flags.flag_values_dict())
    )
    return status, seen


def test_flags_are_read(command):
    status, seen = run_with(command, "--sort=black", "--nohot", "--cups=3", "--with=milk,sugar")
    assert status == 0
    assert seen == {
        "sort": "black",
        "hot": False,
        "cups": 3,
        "with": ["milk", "sugar"],
        "size": "small",
        "quiet": False,
    }


@pytest.mark.parametrize("flag", ["--help", "-help", "-h"])
def test_the_manual_page_lists_every_flag_under_its_group(command, capsys, flag):
    assert run_with(command, "--cups=no", flag) == (0, {})
    text = capsys.readouterr().out
    assert text == command.manual() + "\n"
    assert max(map(len, text.splitlines())) <= 96
    parts = text.split("\n\n")
    assert parts[0] == "NAME\n    brew"
    assert parts[1].startswith("DESCRIPTION\n    Makes tea. Makes tea.")
    assert parts[2] == "EXAMPLES\n    bin/brew --sort=green\n    bin/brew --hot"
    assert parts[3] == (
        "TEA\n"
        "    --sort=STRING\n        What tea. [green]\n"
        "    --[no]hot\n        Whether it is hot. [true]"
    )
    assert parts[4] == (
        "TABLE\n"
        "    --cups=INT\n        How many. [0]\n"
        "    --with=COMMA SEPARATED LIST OF STRINGS\n        What comes with it.\n"
        "    --size=small|large\n        How big. [small]"
    )
    assert parts[5].startswith("HOW TO PRINT IT\n    --[no]quiet\n        Print nothing but errors")
    assert parts[6].startswith("FLAG FILES\n    --flagfile=FILE reads flags from a file")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sorts=green"], "Unknown command line flag 'sorts'"),
        (["--cups=few"], "--cups=few"),
        (["--size=huge"], "--size=huge"),
        (["--hot=very"], "--hot=very"),
        (["--nohot=1"], "nohot"),
        (["--cups"], "cups"),
        (["green"], "There are no arguments beside flags. Received: green."),
        (["--cups=1", "green", "black"], "Received: green black."),
        (["--flagfile=missing.flags"], "missing.flags"),
        (["--flagfile=."], "must name a flag file that can be read. Received: '.'"),
        (["--flagfile"], "must name a flag file that can be read. Received: ''"),
    ],
)
def test_a_wrong_command_line_is_refused_with_status_2(command, capsys, arguments, message):
    assert run_with(command, *arguments) == (2, {})
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("brew: error: ")
    assert message in err
    assert err.endswith("\nSee brew --help.\n")


def test_flag_files_are_read_where_they_stand_and_later_flags_override(command, tmp_path):
    file = tmp_path / "tea.flags"
    file.write_text("# A comment.\n\n--sort=black\n  --cups=4\n--nohot\n")
    assert run_with(command, f"--flagfile={file}")[1]["sort"] == "black"
    status, seen = run_with(command, "--cups=9", f"--flagfile={file}", "--sort=white", "--hot")
    assert status == 0
    assert (seen["sort"], seen["cups"], seen["hot"]) == ("white", 4, True)
    assert run_with(command, "--flagfile", str(file))[1]["cups"] == 4


def test_a_wrong_flag_in_a_file_is_refused(command, tmp_path, capsys):
    (tmp_path / "tea.flags").write_text("--sorts=black\n")
    assert run_with(command, f"--flagfile={tmp_path / 'tea.flags'}") == (2, {})
    assert "Unknown command line flag 'sorts'" in capsys.readouterr().err


def test_the_command_line_of_the_process_is_the_default(command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["brew", "--cups=7"])
    seen = []
    assert command.main(None, lambda: seen.append(command.flags.cups)) == 0
    assert seen == [7]


def test_an_error_of_tfqkd_is_one_message_with_status_1(command, capsys):
    assert command.main(["brew"], lambda: Recipe(bits=1)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("brew: error: `bits` must be 2 to 8, or 32 for float. Received: bits=1.\n")


def test_a_usage_error_is_one_message_with_status_2(command, capsys):
    def work():
        raise UsageError("`cups` must be enough. Received: cups=0.")

    assert command.main(["brew"], work) == 2
    assert capsys.readouterr().err == (
        "brew: error: `cups` must be enough. Received: cups=0.\nSee brew --help.\n"
    )


@pytest.mark.parametrize("kind", [ValueError, TypeError, RuntimeError, OSError, KeyError])
def test_an_error_of_other_code_keeps_its_traceback(command, kind):
    def work():
        raise kind("not ours")

    with pytest.raises(kind, match="not ours"):
        command.main(["brew"], work)


def test_an_error_that_other_code_raises_inside_tfqkd_keeps_its_traceback(command):
    # Python's own words, met in a line of tfqkd, name no rule.
    with pytest.raises(ValueError, match="cannot convert float NaN to integer"):
        command.main(["brew"], lambda: scale_filters(16, math.nan))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EACCES, "Make it accessible, or give another --run_dir"),
        (errno.ENOLCK, "Put it on storage that has locks"),
        (errno.ENAMETOOLONG, "Fix what the error names"),
    ],
)
def test_what_the_system_refuses_is_one_message_in_every_command(command, capsys, number, advice):
    def work():
        raise OSError(number, os.strerror(number), "cups/tea.json")

    assert command.main(["brew"], work) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "brew: error: Files must be readable and writable throughout. Received: "
        f"[Errno {number}] {os.strerror(number)}: 'cups/tea.json'. {advice}; what was finished is kept, and "
        "the same command goes on with it.\n"
    )


@pytest.mark.parametrize(
    ("number", "name", "status"),
    [(signal.SIGINT, "SIGINT", 130), (signal.SIGTERM, "SIGTERM", 143)],
)
@pytest.mark.parametrize(
    ("program", "shown"),
    [("/usr/local/bin/tfqkd-brew", "/usr/local/bin/tfqkd-brew"), ("/src/brew.py", "tfqkd-brew")],
)
def test_a_signal_ends_a_command_and_the_last_line_says_how_to_go_on(
    command, capsys, monkeypatch, number, name, status, program, shown
):
    monkeypatch.delenv("TF_CONFIG", raising=False)

    def work():
        os.kill(os.getpid(), number)
        time.sleep(60)

    assert command.main([program, "--sort=black tea", "--cups=2"], work) == status
    out, err = capsys.readouterr()
    assert out == f"\nStopped by {name}.\nTo go on: {shown} '--sort=black tea' --cups=2\n"
    assert err == ""


def test_a_worker_goes_on_as_the_one_that_it_was(command, capsys, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"task": {"index": 1}}')

    def work():
        raise KeyboardInterrupt

    assert command.main(["/bin/brew", "--cups=2"], work) == 130
    assert capsys.readouterr().out.splitlines()[-1] == (
        """To go on: TF_CONFIG='{"task": {"index": 1}}' /bin/brew --cups=2"""
    )


def test_a_module_is_called_by_its_program(tmp_path, monkeypatch):
    train = Command("train", "", ())
    source = str(PACKAGE / "cli" / "train.py")
    monkeypatch.chdir(PACKAGE.parent)
    assert train.command_line([source, "--a b"]) == ["bin/train", "--a b"]
    monkeypatch.chdir(tmp_path)
    assert train.command_line([source]) == [str(PACKAGE.parent / "bin" / "train")]
    assert train.command_line(["/env/bin/tfqkd-train", "-h"]) == ["/env/bin/tfqkd-train", "-h"]


# Stand for the real ones: they say what they were imported with, and write notices as TensorFlow does.
STANDINS = {
    "tensorflow/__init__.py": """
import os, types
os.write(2, b"a notice that no log level silences\\n")
seen = {name: os.environ.get(name) for name in ("TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS")}
Variable = Tensor = object
levels = []
get_logger = lambda: types.SimpleNamespace(setLevel=levels.append)
""",
    "tensorflow_model_optimization/__init__.py": "",
    "tf_keras/__init__.py": "",
    "tf_keras/src/__init__.py": "",
    "tf_keras/src/mixed_precision/__init__.py": "",
    "tf_keras/src/mixed_precision/autocast_variable.py": "",
}
LOAD = """
import sys
from tfqkd.cli.command import load_tensorflow
assert "tensorflow" not in sys.modules
load_tensorflow()
import tensorflow
print(tensorflow.seen, tensorflow.levels)
print("after", file=sys.stderr)
"""


def load_stand_ins(folder, packages, code, **settings):
    """Runs code where packages stand in for others; returns the process."""
    for name, text in packages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(PACKAGE.parent)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(("users", "expected"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_onednn_is_on_unless_the_user_says_otherwise(tmp_path, users, expected):
    settings = {"TF_ENABLE_ONEDNN_OPTS": users} if users else {}
    child = load_stand_ins(tmp_path, STANDINS, LOAD, **settings)
    seen = {"TF_ENABLE_ONEDNN_OPTS": expected, "TF_USE_LEGACY_KERAS": "1"}
    assert child.stdout == f"{seen} ['ERROR']\n"
    # The stream is there again for what comes after.
    assert child.stderr == "after\n"


def test_what_tensorflow_and_tfmot_do_without_is_not_loaded_in_vain(tmp_path):
    packages = {**STANDINS, "jax/__init__.py": "", "keras/__init__.py": ""}
    for reader, name in (("tensorflow", "jax"), ("tensorflow_model_optimization", "keras")):
        packages[f"{reader}/__init__.py"] += (
            f"try:\n    import {name}\nexcept ImportError:\n    pass\n"
        )
    code = f"{LOAD}\nassert not {{'jax', 'keras'}} & set(sys.modules)\nimport jax, keras\n"
    load_stand_ins(tmp_path, packages, code)


def test_quiet_leaves_errors_alone(command, capsys):
    def speak():
        print("much")
        raise UsageError("A rule. Received: this.")

    assert command.main(["brew", "--quiet"], lambda: print("much")) == 0
    assert capsys.readouterr() == ("", "")
    assert command.main(["brew", "--quiet"], speak) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("brew: error: A rule.")


@pytest.mark.parametrize(
    ("program", "typed"),
    [("/env/bin/tfqkd-brew", "tfqkd-train"), ("/tfqkd/cli/brew.py", f"{ROOT}/bin/train")],
)
def test_the_next_command_is_typed_as_this_one_was(
    command, capsys, monkeypatch, tmp_path, program, typed
):
    monkeypatch.chdir(tmp_path)
    run_dir = "--run_dir=my runs"
    assert command.main([program], lambda: command.print_next("train", run_dir)) == 0
    assert capsys.readouterr().out == f"Next            {typed} '{run_dir}'\n"
    monkeypatch.chdir(ROOT)
    assert command.main([program], lambda: command.print_next("train")) == 0
    at_home = "bin/train" if program.endswith(".py") else typed
    assert capsys.readouterr().out == f"Next            {at_home}\n"


@pytest.mark.parametrize(
    ("program", "typed"),
    [("/env/bin/tfqkd-brew", "tfqkd-"), ("/tfqkd/cli/brew.py", "bin/"), ("brew", "bin/")],
)
def test_the_commands_of_a_message_are_typed_as_this_one_was(command, capsys, program, typed):
    def spill():
        raise UsageError("A rule. Received: /env/bin/x. Run bin/train, or bin/study.")

    assert command.main([program], spill) == 2
    expected = f"A rule. Received: /env/bin/x. Run {typed}train, or {typed}study."
    err = capsys.readouterr().err
    assert expected in err
    assert f"See {typed.removeprefix('bin/')}brew --help." in err
    assert command.main([program, "--help"], spill) == 0
    assert f"EXAMPLES\n    {typed}brew --sort=green" in capsys.readouterr().out
