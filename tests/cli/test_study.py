import pathlib

import pytest

from tfqkd.cli.study import main

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"

GOOD = ("--dataset=digits", "--data.validation_split=0.1", "--vary=temperature=1,2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=digits", "--data.validation_split=0.1"], "A study must vary something."),
        ([*GOOD, "--vary=temprature=1"], "A setting must be one of a recipe's."),
        ([*GOOD, "--vary=coefficient=0.9:0.1"], "A range must not be empty"),
        ([*GOOD, "--arm=bits=3"], "An arm must be NAME: FIELD=VALUE FIELD=VALUE."),
        ([*GOOD, "--vary=coefficient=0.1:0.9"], "A grid needs listed values."),
        ([*GOOD, "--trials=3"], "A grid tries every setting once."),
        ([*GOOD, "--sampler=tpe"], "The sampler tpe must know how many settings to draw."),
        ([*GOOD, "--sampler=best"], "grid|random|tpe"),
        ([*GOOD, "--pruner=all"], "none|hyperband"),
        ([*GOOD, "--repeats=0"], "repeats"),
        ([*GOOD, "--data.validation_split=0"], "A study must hold back images"),
        ([*GOOD, "--teacher=none"], "Without a teacher `temperature` changes nothing."),
        ([*GOOD, "--vary=schedule=exponential"], "must start and end above zero"),
        ([*GOOD, "--temperature=0"], "`temperature` must be above 0."),
        ([*GOOD, "--grace_seconds=1"], "grace_seconds"),
        (
            [*GOOD, "--pruner=hyperband", "--quantized.training.epochs=1"],
            "gives trials up between epochs",
        ),
        (
            [*GOOD, "--run.strategy=multi_worker"],
            "The workers of a study train trials of their own",
        ),
    ],
)
def test_a_mistake_is_said_before_anything_is_made(
    arguments, message, capsys, no_tensorflow, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("study: error: ")
    assert message in err
    assert err.endswith("See study --help.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be_reached_is_one_message(
    capsys, no_tensorflow, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    storage = "--storage=postgresql://me:secret@127.0.0.1:1/studies"
    assert main(["study", *GOOD, storage]) == 1
    err = capsys.readouterr().err
    assert err.startswith("study: error: `storage` must be the URL of a database")
    assert "secret" not in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_report_on_a_study_that_was_never_begun_is_refused_and_makes_nothing(
    capsys, no_tensorflow, tmp_path
):
    directory = tmp_path / "run"
    assert main(["study", *GOOD, f"--run_dir={directory}", "--report_only"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("study: error: A study must be started before it can be reported.")
    assert f"Received: 'run', which is not in sqlite:///{directory}/study.db" in err
    assert list(tmp_path.iterdir()) == []


def test_a_report_on_an_unknown_name_is_refused_and_begins_no_study(
    capsys, no_tensorflow, tmp_path
):
    import optuna

    from tfqkd.study.database import open_storage

    url = f"sqlite:///{tmp_path / 'studies.db'}"
    optuna.create_study(study_name="there", storage=open_storage(url, 60))
    arguments = ["--study_name=elsewhere", f"--storage={url}", f"--run_dir={tmp_path / 'run'}"]
    assert main(["study", *GOOD, *arguments, "--report_only"]) == 1
    assert "Received: 'elsewhere', which" in (err := capsys.readouterr().err)
    assert "(studies there: there)" in err
    assert optuna.get_all_study_names(url) == ["there"]
    assert not (tmp_path / "run").exists()


def test_a_study_that_is_stopped_before_it_is_begun_leaves_none(tmp_path, monkeypatch):
    import optuna

    def stop(plan, location, command):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfqkd.cli.study.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.study.study.run_study", stop)
    directory = tmp_path / "run"
    assert main(["study", *GOOD, f"--run_dir={directory}"]) == 130
    assert optuna.get_all_study_names(f"sqlite:///{directory / 'study.db'}") == []
    assert not (directory / "report.html").exists()


def test_missing_packages_are_said(capsys, no_tensorflow, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    drawn = ["--sampler=random", "--trials=3", f"--run_dir={tmp_path / 'run'}"]
    assert main(["study", *GOOD, *drawn]) == 1
    err = capsys.readouterr().err
    assert "storage needs the packages optuna, sqlalchemy, statsmodels. Received: no optuna" in err
    assert "pip install 'tfqkd[study]'" in err


def test_a_data_set_that_is_not_there_begins_no_study(capsys, tmp_path):
    import optuna

    directory = tmp_path / "run"
    arguments = [*GOOD, "--dataset=mnist", f"--data_dir={tmp_path}", f"--run_dir={directory}"]
    assert main(["study", *arguments]) == 1
    assert "A data set must be on disk" in capsys.readouterr().err
    assert optuna.get_all_study_names(f"sqlite:///{directory / 'study.db'}") == []


def test_a_password_is_not_kept_with_the_command():
    from tfqkd.cli.study import _without_password

    url = "postgresql://me:secret@host/db"
    words = ["bin/study", f"--storage={url}", "--repeats=2"]
    shown = "--storage=postgresql://me:***@host/db"
    assert _without_password(words, url) == ["bin/study", shown, "--repeats=2"]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (ValueError, 1)])
def test_a_study_that_ends_early_reports_what_is_done(error, status, tmp_path, monkeypatch, capsys):
    from tfqkd.study.status import StudyStatus
    from tfqkd.study.worker import work

    def fail(trial):
        raise error("no memory for this model")

    def end_early(plan, location, command):
        work(location.join(plan), fail, StudyStatus(), location.grace_seconds)

    monkeypatch.setattr("tfqkd.cli.study.load_keras", lambda version: None)
    monkeypatch.setattr("tfqkd.study.study.run_study", end_early)
    assert main(["study", *GOOD, f"--run_dir={tmp_path / 'run'}"]) == status
    assert " trials done, " in (tmp_path / "run" / "report.html").read_text()
    out, err = capsys.readouterr()
    assert "report.html" in out
    assert ("Trials must not all fail. Received: 3 failures in a row" in err) == (status == 1)


def test_the_next_command_trains_the_best_recipe_once_there_is_one(tmp_path, monkeypatch, capsys):
    def grid(plan, directory, *_):
        (directory / "best.flags").write_text("--dataset=digits")

    monkeypatch.setattr("tfqkd.cli.study.missing_packages", lambda: ["optuna"])
    monkeypatch.setattr("tfqkd.cli.study._run_locally", lambda *_: None)
    asked = ["study", *GOOD, f"--run_dir={tmp_path}"]
    assert main(asked) == 0
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("tfqkd.cli.study._run_locally", grid)
    assert main(asked) == 0
    next_command = f"Next            tfqkd-train --flagfile={tmp_path / 'best.flags'}\n"
    assert capsys.readouterr().out == next_command


FILES = sorted([*CONFIGS.glob("study_*.flags"), *CONFIGS.glob("methods_*.flags")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_flag_file_of_a_study_is_a_grid(file, capsys, no_tensorflow, tmp_path, monkeypatch):
    """All its flags and fields are known: what is left to refuse is a number of trials for a grid."""
    monkeypatch.chdir(tmp_path)
    assert main(["study", f"--flagfile={file}", "--trials=3"]) == 2
    assert "A grid tries every setting once." in capsys.readouterr().err
