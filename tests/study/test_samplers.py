import optuna

from tfqkd.study.queue import settings_of
from tfqkd.study.samplers import make_pruner, make_sampler

from .tried import begin, plan

RANGES = ("coefficient=0.1:0.9", "temperature=1:8")


def drawn(study, varied, count, value=lambda settings: 0.0):
    """Runs trials whose values are those of their settings, and returns the settings."""
    seen = {}

    def objective(trial):
        seen[trial.number] = settings_of(trial, varied)
        return value(seen[trial.number])

    study.optimize(objective, n_trials=count)
    return seen


def test_what_is_drawn_for_a_trial_does_not_depend_on_the_worker(tmp_path):
    varied = plan(*RANGES, sampler="random", trials=6)
    alone = drawn(begin(tmp_path, varied, "alone"), varied, 7)
    first = begin(tmp_path, varied, "shared")
    second = begin(tmp_path, varied, "shared")
    shared = {}
    for worker in (first, second, second, first, second, first, first):
        shared |= drawn(worker, varied, 1)
    assert shared == alone
    assert len({settings["coefficient"] for number, settings in alone.items() if number}) == 6


def test_another_seed_draws_other_settings(tmp_path):
    import dataclasses

    varied = plan(*RANGES, sampler="random", trials=3)
    other = dataclasses.replace(varied, recipe=varied.recipe.changed(seed=7))
    one = drawn(begin(tmp_path, varied, "one"), varied, 4)
    two = drawn(begin(tmp_path, other, "two"), other, 4)
    assert one[1] != two[1]


def test_tpe_comes_nearer_to_the_best_than_it_began(tmp_path):
    varied = plan(*RANGES, sampler="tpe", trials=30)
    study = begin(tmp_path, varied)

    def value(settings):
        return -abs(settings.get("coefficient", 0.5) - 0.7)

    seen = drawn(study, varied, 31, value)
    distances = [abs(settings["coefficient"] - 0.7) for n, settings in seen.items() if n]
    assert sum(distances[-10:]) < sum(distances[:10]) / 2


def test_tpe_draws_all_fields_together(tmp_path):
    varied = plan(*RANGES, sampler="tpe", trials=3)
    study = begin(tmp_path, varied)
    drawn(study, varied, 2)
    # A trial that Optuna made because the queue was empty has no settings either.
    study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.PRUNED))
    (_, last, *_) = study.trials
    study.sampler.before_trial(study, last)
    space = study.sampler.infer_relative_search_space(study, last)
    assert set(space) == {"coefficient", "temperature"}


def test_tpe_learns_nothing_from_controls(tmp_path):
    varied = plan(*RANGES, "bits=2,3,4", sampler="tpe", trials=12)

    def settings(name, of_control):
        def value(settings):
            return of_control if set(settings) == {"bits"} else settings["coefficient"] / 2

        return drawn(begin(tmp_path, varied, name), varied, 3 + 12, value)

    assert settings("better", 1.0) == settings("worse", 0.0)


def test_pruning_is_off_unless_asked_for():
    assert isinstance(make_pruner(plan()), optuna.pruners.NopPruner)
    assert isinstance(make_pruner(plan(pruner="hyperband")), optuna.pruners.HyperbandPruner)


def test_hyperband_reckons_with_the_longest_trial():
    # With 27 epochs there are 4 brackets, whose rungs begin at 1, 3, 9 and 27; with 3 there are 2.
    for vary, brackets in (("quantized.training.epochs=3,27", 4), ("temperature=1,2", 2)):
        varied = plan(vary, pruner="hyperband")
        study = optuna.create_study(pruner=(pruner := make_pruner(varied)))
        trial = study.ask()
        trial.report(0.5, 1)
        trial.should_prune()
        assert pruner._n_brackets == brackets


def test_hyperband_gives_up_what_is_hopeless():
    varied = plan("temperature=1:8", sampler="random", trials=30, pruner="hyperband")
    study = optuna.create_study(
        direction="maximize", sampler=make_sampler(varied), pruner=make_pruner(varied)
    )

    def objective(trial):
        good = trial.number % 2
        for epoch in (1, 2, 3):
            trial.report(0.9 if good else 0.1, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return 0.9 if good else 0.1

    study.optimize(objective, n_trials=30)
    pruned = [t.number for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert len(pruned) >= 3
    assert all(number % 2 == 0 for number in pruned)
