"""Processes of bin/study on one SQLite file, one of which is stopped or killed within a training."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

BIN = pathlib.Path(__file__).resolve().parents[2] / "bin"
EPOCHS = 25
FLAGS = (
    "--dataset=digits",
    "--data.validation_split=0.3",
    "--data.crop_padding=1",
    "--data.flip=false",
    "--student=cnn2",
    "--teacher=cnn4",
    "--teacher.training.epochs=2",
    "--student.training.epochs=2",
    f"--quantized.training.epochs={EPOCHS}",
    "--teacher.views=2",
    "--training.batch_size=64",
    "--run.pretrain_seed=0",
    "--vary=temperature=1,4",
    "--run_dir=study",
    "--grace_seconds=6",
)


KERASES = {"tf_keras": (), "keras3": ("--run.keras=3",)}
"""Flags of the Keras that trains: Keras 3 on JAX."""


def begin(directory, name, flags=FLAGS):
    """Begins a worker whose output goes to a file of this name."""
    environment = {
        "KERAS_BACKEND": "jax",
        **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }
    with (directory / name).open("w") as output:
        return subprocess.Popen(
            [BIN / "study", *flags],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def wait_for_a_checkpoint(directory, process, seconds=300):
    """Waits until the process has kept an epoch of a quantized student that it trains."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        found = directory.glob("study/products/quantized-*.partial/checkpoints/*/state.[in]*")
        if any(file.parent.suffix != ".partial" for file in found):
            return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint; exit status {process.poll()}")


@pytest.mark.slow
@pytest.mark.parametrize("keras", KERASES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_what_a_worker_leaves_is_gone_on_with_and_nothing_is_made_twice(tmp_path, number, keras):
    flags = (*FLAGS, *KERASES[keras])
    first = begin(tmp_path, "first", flags)
    wait_for_a_checkpoint(tmp_path, first)
    first.send_signal(number)
    assert first.wait(60) == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    # The same command twice: one is the first one's return, the other has joined.
    workers = [begin(tmp_path, name, flags) for name in ("again", "other")]
    assert [worker.wait(600) for worker in workers] == [0, 0]

    study = optuna.load_study(
        study_name="study", storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}"
    )
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    (lost,) = [trial for trial in study.trials if trial.state != TrialState.COMPLETE]
    assert lost.state == TrialState.FAIL
    assert sorted(trial.params.get("temperature", 0) for trial in done) == [0, 1.0, 4.0]
    assert sum("control" in trial.user_attrs for trial in done) == 1

    products = tmp_path / "study" / "products"
    made = [path.name.split("-")[0] for path in products.glob("*/")]
    counts = {stage: made.count(stage) for stage in set(made)}
    # Teacher, float student and the teacher's logits for each of the two views once; no training left open.
    assert counts == {"teacher": 1, "student": 1, "logits": 2, "quantized": 3, "measured": 5}
    for product in products.glob("quantized-*"):
        if product.is_dir():
            assert list(pd.read_csv(product / "history.csv")["epoch"]) == [*range(1, EPOCHS + 1)]
    said = "".join((tmp_path / name).read_text() for name in ("again", "other"))
    assert said.count(": goes on after ") == 1
    assert "3 of 3 trials done" in (tmp_path / "study" / "report.html").read_text()


@pytest.mark.slow
def test_on_jax_a_pruner_gives_up_hopeless_trainings(tmp_path):
    rates = (0.05, 1e-7, 2e-7, 3e-7, 4e-7, 5e-7)
    flags = [
        *(flag for flag in FLAGS if "=temperature" not in flag and "epochs" not in flag),
        "--run.keras=3",
        "--student=cnn6",
        "--teacher.training.epochs=1",
        "--student.training.epochs=5",
        "--quantized.training.epochs=3",
        f"--vary=quantized.training.learning_rate={','.join(map(str, rates))}",
        "--pruner=hyperband",
    ]
    worker = begin(tmp_path, "worker", flags)
    assert worker.wait(600) == 0, (tmp_path / "worker").read_text()
    study = optuna.load_study(
        study_name="study", storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}"
    )
    by_rate = {t.params["quantized.training.learning_rate"]: t for t in study.trials if t.params}
    assert set(by_rate) == set(rates)
    assert by_rate[0.05].state == TrialState.COMPLETE
    assert TrialState.PRUNED in {trial.state for trial in by_rate.values()}
    assert {t.state for t in study.trials if not t.params} == {TrialState.COMPLETE}
