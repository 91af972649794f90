import pytest

from benchmarks import ours


@pytest.mark.parametrize("row", ["ternary", "ternary, cached logits"])
def test_a_turn_makes_so_many_steps_of_the_training_of_a_stage(monkeypatch, row):
    made, fit = [], ours.fit

    def watched(front, network, directory, **options):
        made.append((network, directory, options))
        fit(front, network, directory, **options)

    monkeypatch.setattr(ours, "fit", watched)
    monkeypatch.setattr(ours, "IMAGES", 20)
    for name, value in (("MODEL", "cnn2"), ("BATCH", 4), ("CLASSES", 3)):
        monkeypatch.setattr(ours, name, value)
    run = ours.prepare(row)
    ((network, directory, options),) = made
    assert int(network.optimizer.iterations) == 0
    total = 0
    # The second turn leads into another epoch.
    for steps in (3, 4):
        run(steps)
        total += steps
        assert int(network.optimizer.iterations) == total
    assert [path.name for path in directory.glob("checkpoints/*")] == ["epoch000001-step000000000"]
    assert options["stage"].role == "quantized"


def test_a_training_that_fails_says_so(monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such row")

    monkeypatch.setattr(ours, "fit", fail)
    with pytest.raises(RuntimeError, match="no such row"):
        ours.prepare("float")
