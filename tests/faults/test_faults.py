"""The short version of `make faults`: one run of a single stage, killed in its first checkpoint."""

import random

import pytest

from tfqkd.recipe.recipe import Recipe

from . import harness


def test_a_run_that_is_killed_in_a_checkpoint_ends_bit_identical(tmp_path, monkeypatch):
    monkeypatch.setattr(
        harness,
        "FLAGS",
        (
            "--dataset=digits",
            "--data.train_examples=160",
            "--student=cnn2",
            "--teacher=none",
            "--training.batch_size=32",
            "--student.training.epochs=3",
            "--bits=32",
            "--quantized.training.epochs=0",
            "--formats=",
            "--run.checkpoint_every=2",
            "--run.deterministic",
        ),
    )
    monkeypatch.setattr(harness, "PLAN", (("student-", 20),))
    monkeypatch.setattr(harness, "draw_moment", lambda *_: "c2+0.004")
    assert harness.call("none", "0", tmp_path / "reference").returncode == 0
    tally = harness.Tally()
    harness.kill_and_go_on(tmp_path / "run", 1, random.Random(0), tally)
    tally.compare("run", tmp_path / "run", harness.outcome(tmp_path / "reference"))
    assert (tally.failures, tally.identical) == ([], 1)
    assert sum(tally.kills.values()) == 1
    # A checkpoint was begun, and nothing after it was done.
    assert "epoch000000-step000000004" in (tmp_path / "run.moments").read_text()


@pytest.mark.slow
def test_kills_of_the_export_leave_the_same_bytes_in_every_format(tmp_path, monkeypatch):
    formats = (*Recipe().export.formats, "keras")
    flags = (
        "--dataset=digits",
        "--data.train_examples=160",
        "--student=cnn2",
        "--teacher=none",
        "--training.batch_size=32",
        "--student.training.epochs=1",
        "--quantized.training.epochs=1",
        f"--formats={','.join(formats)}",
        "--run.deterministic",
    )
    monkeypatch.setattr(harness, "FLAGS", flags)
    assert harness.call("none", "0", tmp_path / "reference").returncode == 0
    expected = harness.outcome(tmp_path / "reference")
    # In the float stage, so that the export begins in a process that has done less; while the second file is
    # written; while the files are copied.
    for moment in ("quantized-:9999", "export-:12", "/export/:2"):
        assert harness.call("kill", moment, tmp_path / "run").returncode == -9
    assert not (tmp_path / "run" / "results.json").exists()
    assert harness.call("none", "0", tmp_path / "run").returncode == 0
    tally = harness.Tally()
    tally.compare("run", tmp_path / "run", expected)
    assert (tally.failures, tally.identical) == ([], 1)
    assert {"saved_model", "student.keras"} <= {
        name.split("/")[1] for name in expected if "export/" in name
    }


def test_every_kill_of_a_stage_has_a_moment_in_it():
    generator = random.Random(0)
    drawn = [harness.draw_moment("student-", 9, generator) for _ in range(300)]
    kinds = {(moment[0] == "c", "+" in moment) for moment in drawn}
    assert kinds == {(True, True), (False, True), (False, False)}
    numbers = {int(moment.lstrip("c").partition("+")[0]) for moment in drawn}
    assert numbers == set(range(1, 10))
    assert not any(moment[0] == "c" for moment in (harness.draw_moment("export-", 9, generator),))
