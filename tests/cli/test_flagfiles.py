import pytest
from absl import flags

from tfqkd.cli.flagfiles import expand


def test_arguments_without_a_flag_file_stay_as_they_are():
    arguments = ["--a=1", "b", "--flagfiles=x", "--a=--flagfile=x", "-c"]
    assert list(expand(arguments)) == arguments


@pytest.mark.parametrize("form", ["--flagfile={}", "-flagfile={}", "--flagfile {}"])
def test_the_flags_of_a_file_stand_in_its_place(tmp_path, form):
    file = tmp_path / "my.flags"
    file.write_text("# Comment.\n--a=1 2\n\n   --nob  \n #--c=3\n--d=é,#\n", encoding="utf-8")
    arguments = ["--first", *form.format(file).split(" "), "--last"]
    assert list(expand(arguments)) == ["--first", "--a=1 2", "--nob", "--d=é,#", "--last"]


def test_a_file_finds_another_beside_it_from_any_directory(tmp_path, monkeypatch):
    (tmp_path / "configs" / "shared").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "configs" / "shared" / "base.flags").write_text("--a=1\n--b=1\n")
    (tmp_path / "configs" / "mid.flags").write_text("--flagfile=shared/base.flags\n--b=2\n")
    (tmp_path / "configs" / "top.flags").write_text(
        f"--flagfile=mid.flags\n--flagfile={tmp_path}/configs/shared/base.flags\n"
    )
    monkeypatch.chdir(tmp_path / "elsewhere")
    expected = ["--a=1", "--b=1", "--b=2", "--a=1", "--b=1"]
    assert list(expand(["--flagfile=../configs/top.flags"])) == expected
    monkeypatch.chdir(tmp_path / "configs")
    assert list(expand(["--flagfile=top.flags"])) == expected


def test_the_home_directory_may_be_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.flags").write_text("--a=1\n")
    assert list(expand(["--flagfile=~/my.flags"])) == ["--a=1"]


def test_files_that_include_each_other_are_refused(tmp_path):
    (tmp_path / "a").write_text("--flagfile=b\n")
    (tmp_path / "b").write_text("--flagfile=a\n")
    with pytest.raises(flags.Error, match=r"must not include itself\. Received: .*/a\."):
        list(expand([f"--flagfile={tmp_path / 'a'}"]))


@pytest.mark.parametrize("arguments", [["--flagfile=missing"], ["--flagfile=."], ["--flagfile"]])
def test_a_file_that_cannot_be_read_is_refused(arguments):
    with pytest.raises(flags.Error, match="must name a flag file that can be read"):
        list(expand(arguments))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(flags.Error, match="must name a flag file that can be read"):
        list(expand([f"--flagfile={tmp_path / 'model.keras'}"]))


def test_a_config_that_is_not_here_is_the_one_that_comes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = list(expand(["--flagfile=configs/cifar100.flags"]))
    assert "--dataset=cifar100" in shipped
    assert "--student=resnet20" in shipped  # Of the file beside it.
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "cifar100.flags").write_text("--dataset=digits\n")
    assert list(expand(["--flagfile=configs/cifar100.flags"])) == ["--dataset=digits"]


def test_no_other_file_is_looked_for_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("setup.py", "configs/../setup.py", "configs/none.flags"):
        with pytest.raises(flags.Error, match="must name a flag file that can be read"):
            list(expand([f"--flagfile={name}"]))
