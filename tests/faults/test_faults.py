"""The short version of `make faults`: one run of a single stage, killed at a write and at any time."""

import pathlib
import random

from . import harness


def test_a_run_that_is_killed_at_a_write_and_in_training_ends_bit_identical(tmp_path, monkeypatch):
    monkeypatch.setattr(
        harness,
        "FLAGS",
        (
            "--dataset=digits",
            "--train_examples=160",
            "--student=cnn2",
            "--teacher=none",
            "--batch_size=32",
            "--student_epochs=3",
            "--bits=32",
            "--quantized_epochs=0",
            "--formats=",
            "--checkpoint_every=2",
            "--deterministic",
        ),
    )
    monkeypatch.setattr(harness, "PLAN", (("student-", 20, 3.0),))
    assert harness.call("none", "0", tmp_path / "reference").returncode == 0
    tally = harness.Tally()
    harness.kill_and_go_on(tmp_path / "run", 1, random.Random(0), tally)
    tally.compare("run", tmp_path / "run", harness.outcome(tmp_path / "reference"))
    assert (tally.failures, tally.identical) == ([], 1)
    assert sum(tally.kills.values()) == 1
    assert pathlib.Path(f"{tmp_path / 'run'}.moments").exists()
