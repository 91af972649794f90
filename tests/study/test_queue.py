import itertools

from optuna.trial import TrialState

from tfqkd.study import attributes
from tfqkd.study.queue import describe, settings_of, to_parameter

from .tried import begin, plan


def fixed(trial):
    return trial.system_attrs["fixed_params"]


def test_a_grid_queues_its_controls_and_every_setting_once(tmp_path):
    grid = plan("temperature=1,2,8", "schedule=constant,gradual")
    trials = begin(tmp_path, grid).trials
    assert {trial.state for trial in trials} == {TrialState.WAITING}
    controls, drawn = trials[:2], trials[2:]
    assert [trial.user_attrs[attributes.CONTROL] for trial in controls] == grid.controls()
    assert all(attributes.CONTROL not in trial.user_attrs for trial in drawn)
    queued = sorted(
        (trial.system_attrs["fixed_params"] for trial in drawn),
        key=lambda settings: (settings["temperature"], settings["schedule"]),
    )
    expected = itertools.product((1.0, 2.0, 8.0), ("constant", "gradual"))
    assert queued == [{"temperature": t, "schedule": s} for t, s in expected]
    assert all(trial.user_attrs[attributes.QUEUED] for trial in trials)


def test_the_order_of_a_grid_is_that_of_its_seed(tmp_path):
    def order(name):
        return [fixed(trial) for trial in begin(tmp_path, plan(), name).trials[4:]]

    assert order("one") == order("two")
    assert order("one") != list(plan().grid())


def test_a_drawn_study_queues_trials_without_settings(tmp_path):
    trials = begin(tmp_path, plan("coefficient=0.1:0.9", sampler="random", trials=3)).trials
    assert [fixed(trial) for trial in trials] == [{}] * 4
    assert [attributes.CONTROL in trial.user_attrs for trial in trials] == [True] + [False] * 3


def test_settings_have_the_types_of_their_fields(tmp_path):
    varied = plan('training.milestones="0.5,0.75",0.6', "bits=2,3", "data.flip=true,false")
    study = begin(tmp_path, varied)
    seen = []
    study.optimize(lambda trial: seen.append(settings_of(trial, varied)) or 0.0, n_trials=16)
    drawn = seen[8:]
    assert {settings["training.milestones"] for settings in drawn} == {(0.5, 0.75), (0.6,)}
    assert {type(settings["bits"]) for settings in drawn} == {int}
    assert {type(settings["data.flip"]) for settings in drawn} == {bool}
    for settings in drawn:
        varied.trial_recipe(settings, control=False, seed=0)


def test_ranges_are_drawn_within_their_ends(tmp_path):
    drawn = plan(
        "coefficient=0.4:0.6",
        "training.batch_size=32:40",
        "temperature=1:100:log",
        sampler="random",
        trials=12,
    )
    study = begin(tmp_path, drawn)
    seen = []
    study.optimize(lambda trial: seen.append(settings_of(trial, drawn)) or 0.0, n_trials=13)
    seen = seen[1:]
    assert all(0.4 <= settings["coefficient"] <= 0.6 for settings in seen)
    assert {settings["training.batch_size"] for settings in seen} <= set(range(32, 41))
    assert all(isinstance(settings["training.batch_size"], int) for settings in seen)
    # On a logarithmic scale half of the 12 values are below 10; on a linear one a tenth would be.
    below = sum(settings["temperature"] < 10 for settings in seen)
    assert 4 <= below <= 8


def test_drawn_numbers_are_shown_with_four_digits():
    settings = {
        "temperature": 4.051964,
        "bits": 2,
        "schedule": "gradual",
        "training.milestones": (0.5, 0.75),
    }
    assert describe(7, settings, control=False) == (
        "trial 7 temperature=4.052 bits=2 schedule=gradual training.milestones=0.5,0.75"
    )
    assert describe(0, {}, control=True) == "control 0"


def test_a_tuple_is_kept_as_text():
    assert to_parameter((0.5, 0.75)) == "0.5,0.75"
    assert to_parameter("gradual") == "gradual"


def test_a_controls_list_is_a_tuple_again_behind_the_storage(tmp_path):
    listed = plan("quantize.layer_bits=conv2=4,conv2=8", repeats=1)
    study = begin(tmp_path, listed)
    seen = []
    study.optimize(lambda trial: seen.append(settings_of(trial, listed)) or 0.0, n_trials=4)
    values = [
        settings["quantize.layer_bits"] for settings in seen if "quantize.layer_bits" in settings
    ]
    assert set(values) == {("conv2=4",), ("conv2=8",)}
    assert len(values) == 4
