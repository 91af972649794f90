"""A small study of real trainings, by the command."""

import json

import optuna
import pytest
from optuna.trial import TrialState

from tfqkd.cli.study import main
from tfqkd.compat import tf
from tfqkd.data import load
from tfqkd.recipe.recipe import Recipe
from tfqkd.training.history import read_history

from .kept import kept_accuracy

ARGUMENTS = [
    "--dataset=digits",
    "--data.validation_split=0.3",
    "--data.crop_padding=1",
    "--data.flip=false",
    "--student=cnn2",
    "--teacher=cnn4",
    "--teacher.training.epochs=1",
    "--student.training.epochs=1",
    "--quantized.training.epochs=2",
    "--coefficient=0.5",
    "--training.batch_size=64",
    "--run.pretrain_seed=0",
    "--teacher.views=2",
    "--formats=saved_model",
]


# Three real trainings; the command itself is tried in default tests by its errors and its parts.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    directory = tmp_path_factory.mktemp("studies") / "small"
    arguments = ["study", *ARGUMENTS, "--vary=temperature=1,4", f"--run_dir={directory}"]
    assert main(arguments) == 0
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{directory / 'study.db'}")
    return directory, arguments, study


def test_teacher_float_student_and_teachers_logits_are_made_once(studied):
    directory, _, _ = studied
    made = [path.name.split("-")[0] for path in (directory / "products").glob("*/")]
    counts = {stage: made.count(stage) for stage in set(made)}
    assert counts == {"teacher": 1, "student": 1, "logits": 2, "quantized": 3, "measured": 5}


def test_the_control_has_no_teacher_and_the_same_schedule(studied):
    directory, _, study = studied
    control, *trials = (
        Recipe.from_json((directory / f"trials/000{number}-seed0/recipe.json").read_text())
        for number in range(3)
    )
    assert study.trials[0].user_attrs["control"] == {}
    assert control.distil.soft_loss == "none"
    assert [trial.distil.soft_loss for trial in trials] == ["cross_entropy"] * 2
    assert sorted(trial.distil.temperature for trial in trials) == [1.0, 4.0]
    for name in ("coefficient", "schedule", "student", "seed"):
        assert len({recipe.value(name) for recipe in (control, *trials)}) == 1


def test_a_trial_is_worth_the_validation_accuracy_of_the_model_that_it_keeps(studied):
    directory, _, study = studied
    held_back = load("digits", validation_split=0.3).validation
    for trial in study.trials:
        path = directory / f"trials/{trial.number:04d}-seed0"
        results = json.loads((path / "results.json").read_text())
        final = results["models"][-1]
        rows = read_history((path / final["model"]).parent / "history.csv")
        record = trial.user_attrs["seed 0"]
        assert trial.value == record["validation_accuracy"] == kept_accuracy(path, held_back)
        assert record["test_accuracy"] == final["accuracy"]
        assert record["curves"]["val_accuracy"] == pytest.approx(
            [row["val_accuracy"] for row in rows], abs=1e-6
        )
        assert results["export"] == []


def test_a_hotter_teacher_is_less_sure(studied):
    _, _, study = studied
    control, *trials = study.trials
    assert control.user_attrs["seed 0"]["teacher_entropy"] is None
    entropies = {
        trial.params["temperature"]: trial.user_attrs["seed 0"]["teacher_entropy"]
        for trial in trials
    }
    assert 0 < entropies[1.0] < entropies[4.0] < 2.302586


def test_tensorboard_has_the_settings_of_every_trial(studied):
    directory, _, study = studied
    for trial in study.trials[1:]:
        (file,) = (directory / f"trials/{trial.number:04d}-seed0/tensorboard").glob("events*")
        tags, settings = set(), {}
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                tags.add(value.tag)
                if value.tag == "_hparams_/session_start_info":
                    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

                    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    settings = dict(data.session_start_info.hparams)
        assert "validation_accuracy" in tags
        assert settings["temperature"].number_value == trial.params["temperature"]
        assert settings["control"].bool_value is False


def test_the_same_command_again_has_nothing_to_do_and_writes_the_page_again(studied, capsys):
    directory, arguments, study = studied
    before = len(study.trials)
    (directory / "report.html").unlink()
    assert main([*arguments, "--report_only"]) == 0
    assert len(study.trials) == before
    out = capsys.readouterr().out
    assert "epoch" not in out
    assert f"Report          {directory / 'report.html'}" in out
    assert (directory / "report.html").exists()
    assert (directory / "best.flags").read_text().count("--temperature=") == 1


def test_train_takes_the_best_recipe_as_it_is_and_comes_to_the_same_result(studied):
    from tfqkd.cli.train import main as train

    directory, _, study = studied
    again = directory.parent / "best"
    assert train(["train", f"--flagfile={directory / 'best.flags'}", f"--run_dir={again}"]) == 0
    best = max(study.trials[1:], key=lambda trial: trial.value)
    final = json.loads((again / "results.json").read_text())["models"][-1]
    # Its own teacher and float student, from the same seeds.
    assert final["accuracy"] == best.user_attrs["seed 0"]["test_accuracy"]
    assert kept_accuracy(again, load("digits", validation_split=0.3).validation) == best.value


def test_another_recipe_under_the_same_name_is_one_message(studied, capsys):
    _, arguments, study = studied
    before = len(study.trials)
    assert main([*arguments, "--student=cnn3", "--report_only"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("study: error: A study belongs to one recipe and space.")
    assert "student: 'cnn2' there, 'cnn3' given" in err
    assert len(study.trials) == before


def test_the_command_is_kept(studied):
    directory, arguments, _ = studied
    command, _, _ = (directory / "command.txt").read_text().partition("  # in ")
    assert command.split() == arguments


def test_hyperband_gives_up_hopeless_trainings(tmp_path, capsys):
    directory, rates = tmp_path / "pruned", (0.05, 1e-7, 2e-7, 3e-7, 4e-7, 5e-7)
    arguments = [
        *[word for word in ARGUMENTS if "_epochs" not in word and "--student" not in word],
        # Wide enough that its float student has learnt something after five epochs, whatever the seed.
        "--student=cnn6",
        "--teacher.training.epochs=1",
        "--student.training.epochs=5",
        "--quantized.training.epochs=3",
        f"--vary=quantized.training.learning_rate={','.join(map(str, rates))}",
        "--pruner=hyperband",
        f"--run_dir={directory}",
    ]
    assert main(["study", *arguments]) == 0
    study = optuna.load_study(study_name="pruned", storage=f"sqlite:///{directory / 'study.db'}")
    by_rate = {t.params["quantized.training.learning_rate"]: t for t in study.trials if t.params}
    assert set(by_rate) == set(rates)
    pruned = [trial for trial in by_rate.values() if trial.state == TrialState.PRUNED]
    # The one that learns is never given up; some that do not are, after their first epoch.
    assert by_rate[0.05].state == TrialState.COMPLETE
    early = [trial for trial in pruned if list(trial.intermediate_values) == [1]]
    assert early
    for trial in early:
        path = directory / f"trials/{trial.number:04d}-seed0"
        assert not (path / "results.json").exists()
    controls = [trial for trial in study.trials if not trial.params]
    assert [trial.state for trial in controls] == [TrialState.COMPLETE] * 6
    assert capsys.readouterr().out.count("given up\n") == len(pruned)
    html = (directory / "report.html").read_text()
    assert f"12 of 12 trials done, {len(pruned)} of them given up early." in html
    assert "--quantized.training.learning_rate=0.05\n" in (directory / "best.flags").read_text()


def test_a_trial_reports_every_epoch_and_ends_when_its_pruner_says_so():
    from tfqkd.study.trial import PruneByEpoch

    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.5)
    )
    trial = study.ask()
    callback = PruneByEpoch(trial)
    callback.on_epoch_end(0, {"val_accuracy": 0.6})
    with pytest.raises(optuna.TrialPruned, match="after epoch 2"):
        callback.on_epoch_end(1, {"val_accuracy": 0.4})
    assert study.trials[0].intermediate_values == {1: 0.6, 2: 0.4}
